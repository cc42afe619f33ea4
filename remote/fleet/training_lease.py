"""One training of a project at a time, over all workspaces and hosts that share a ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jetlane.remote.fleet.leases import EXPIRES, HeldLease, LeaseLost, Leases, keep_renewing
from jetlane.remote.fleet.ledger import new_id
from jetlane.specs.errors import TrainingError

#: Seconds between two attempts to take a lease that another process holds, and between two at ending a training.
_POLL = 2.0


@contextmanager
def training_lease(
    leases: Leases, project: str, on_wait: Callable[[str], None], end_training: Callable[[], None]
) -> Iterator[None]:
    """Hold the right to train a project; while another process holds it, wait.

    A holder that is killed loses it at once on this machine, and after a minute and a quarter elsewhere.

    Args:
        on_wait: Called once, with who holds it and since when, before waiting.
        end_training: Called when the right was lost, again and again until the block ends: this process sent no
            heartbeat for so long that another one took it.

    Raises:
        TrainingError: The right was lost.
    """
    mine = new_id(time.time())
    told = False
    while (held := leases.take_unless_held(mine, [f"training/{project}"])) is not None:
        if not told:
            on_wait(f"{held.holder}, since {_since(held)}")
            told = True
        time.sleep(_POLL)
    ended, lost = threading.Event(), threading.Event()

    def stop(_: LeaseLost) -> None:
        lost.set()
        while not ended.is_set():
            end_training()
            ended.wait(_POLL)

    heartbeat = threading.Thread(target=keep_renewing, args=(leases, mine, ended, stop), daemon=True)
    heartbeat.start()
    try:
        yield
    except Exception as error:
        if lost.is_set():
            raise _taken_over(project) from error
        raise
    finally:
        ended.set()
        heartbeat.join()
        leases.release(mine)
    if lost.is_set():
        raise _taken_over(project)


def _since(held: HeldLease) -> str:
    """The time in an id of ``new_id``."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.strptime(held.rollout[:15], "%Y%m%d-%H%M%S"))
    except ValueError:
        return "a time that is not known"


def _taken_over(project: str) -> TrainingError:
    return TrainingError(
        f"this training was ended: another process trains {project} now",
        f"this one sent no heartbeat to the ledger for {EXPIRES:.0f} s, as when a machine sleeps",
        "run again when that one has ended: it goes on from the last checkpoint",
    )
