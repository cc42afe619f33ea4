"""``jetlane fleet pause``, ``resume``, ``abort``, ``approve`` and ``reject``: a person's decision, into the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.fleet.request import current_user, open_ledger

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.remote.fleet.state import RolloutState


def _control(name: str, act: Callable[[Ledger, RolloutState], str]) -> Callable[[Callable[..., None]], click.Command]:
    """A command that notes a person's decision about a rollout in the ledger."""

    def make(described: Callable[..., None]) -> click.Command:
        @click.command(name, help=described.__doc__)
        @options.rollout
        @options.workspace
        @options.ledger
        def command(rollout: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
            from jetlane.remote.fleet import controls

            with open_ledger(workspace, ledger) as book:
                state = controls.find(book, rollout)
                click.echo(f"rollout {state.id}: {act(book, state)}")

        return command

    return make


def _paused(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    controls.pause(book, state, current_user())
    return "no further device is begun; to go on: jetlane fleet resume"


def _resumed(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    controls.resume(book, state, current_user())
    if book.leases.held(state.id) is None:
        return "no process works on it: run its `jetlane fleet rollout` again to take it up"
    return "it goes on"


def _aborted(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    controls.abort(book, state, current_user())
    return "devices that are switching finish, the others are left as they are"


def _approved(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    return f"wave {controls.answer(book, state, current_user()) + 1} may begin"


def _rejected(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    return f"wave {controls.answer(book, state, current_user(), approved=False) + 1} will not begin; the rollout stops"


@_control("pause", _paused)
def pause() -> None:
    """Begin no further device of ROLLOUT; the one under way unless named."""


@_control("resume", _resumed)
def resume() -> None:
    """Go on with a paused ROLLOUT."""


@_control("abort", _aborted)
def abort() -> None:
    """End ROLLOUT: devices that are switching finish, the others are left as they are."""


@_control("approve", _approved)
def approve() -> None:
    """Let the next wave of ROLLOUT begin."""


@_control("reject", _rejected)
def reject() -> None:
    """Refuse the next wave of ROLLOUT, which stops it."""
