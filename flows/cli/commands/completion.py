"""``jetlane completion``."""

from __future__ import annotations

import click

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, files, and names of devices, releases and rollouts.

    \b
    bash, in ~/.bashrc:                    eval "$(jetlane completion bash)"
    zsh, in ~/.zshrc, after compinit:      eval "$(jetlane completion zsh)"
    fish, once:                            jetlane completion fish > ~/.config/fish/completions/jetlane.fish
    """
    from click.shell_completion import get_completion_class

    from jetlane.flows.cli.main import cli

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "jetlane", "_JETLANE_COMPLETE").source())
