"""``jetlane spec check``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def spec() -> None:
    """Look at specs."""


@spec.command()
@click.argument("spec", type=click.Path(path_type=Path))
def check(spec: Path) -> None:
    """Check SPEC and the inventory it names; print it with every default, paths absolute. Nothing is run."""
    import yaml

    from jetlane.specs.load import load_spec

    checked = load_spec(spec)
    if checked.fleet.inventory is not None:
        from jetlane.remote.inventory import load_inventory

        load_inventory(Path(checked.fleet.inventory))
    click.echo(yaml.safe_dump(checked.model_dump(mode="json", exclude_none=True), sort_keys=False), nl=False)
    click.echo(f"# {spec}: ok", err=True)
