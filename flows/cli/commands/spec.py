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
    """Check SPEC and the files it names; print it with every default, paths absolute. Nothing is run.

    What can be known now is not left to a later step: settings of the pipeline.config that no board can do, a label map
    that is not the model's, the inventory, the signing key.
    """
    import yaml

    from jetlane.specs.load import load_spec
    from jetlane.tasks.run.early_checks import check_spec

    checked = load_spec(spec)
    notes = check_spec(checked)
    click.echo(yaml.safe_dump(checked.model_dump(mode="json", exclude_none=True), sort_keys=False), nl=False)
    for note in notes:
        click.echo(f"# note: {note}", err=True)
    click.echo(f"# {spec}: ok", err=True)
