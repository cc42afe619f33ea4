"""Removes what a workspace needs no more, also while runs are at work in it, and so that a power cut leaves it whole.

A step's folder is renamed before anything in it is deleted, so that what has a step's name is always whole; what a cut
left on its way out goes with the next cleaning.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.local_files import in_words
from jetlane.tasks.run.retention import GONE, Removable, needed_now, plan
from jetlane.tasks.run.rollout_releases import releases_of_rollouts
from jetlane.tasks.run.room import Sizes
from jetlane.tasks.run.run_record import forget
from jetlane.tasks.run.workspace import Workspace, sync_folder

if TYPE_CHECKING:
    from jetlane.tasks.run.context import Run

#: Tells which releases rollouts need; asked again for every release that would go.
Needed = Callable[[], set[str]]


@dataclass(frozen=True)
class Removed:
    """What went, or would go: relative path and bytes."""

    path: Path
    size: int


def clean(workspace: Workspace, keep: int, needed: Needed, dry_run: bool = False) -> list[Removed]:
    """Remove all but the newest runs and what must stay (see ``retention``).

    Args:
        keep: Runs of each name that stay.
        dry_run: Only tell what would go.

    Raises:
        WorkspaceError: Something cannot be removed.
    """
    root = workspace.root
    with workspace.lock("cleaning"), in_words(root):
        planned = plan(root, keep, needed())
        sizes = Sizes()
        if dry_run:
            return [Removed(one.path.relative_to(root), sizes.of(one.path)) for one in planned.removable]
        gone = [
            Removed(one.path.relative_to(root), size)
            for one, size in [(one, sizes.of(one.path)) for one in planned.removable]
            if _removed(workspace, one, needed)
        ]
        for record in planned.forgettable(root):
            forget(record)
        _remove_dead_links(root / "releases")
        return gone


def _removed(workspace: Workspace, one: Removable, needed: Needed) -> bool:
    """Remove one thing; False where somebody needs it now."""
    if one.step is None or GONE in one.path.name:
        _delete(one.path)
        return True
    with workspace.lock_unless_held("-".join(one.step)) as held:
        if not held or one.step in needed_now(workspace.root, needed() if one.release else set()):
            return False
        if one.release:
            with suppress(FileNotFoundError):
                (workspace.root / "releases" / one.release).unlink()
                sync_folder(workspace.root / "releases")
        aside = one.path.with_name(f"{GONE}{one.path.name}-{secrets.token_hex(4)}")
        try:
            os.replace(one.path, aside)
        except FileNotFoundError:  # its run ended and renamed it, or it was made again
            return False
        sync_folder(aside.parent)
    _delete(aside)
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_dead_links(releases: Path) -> None:
    for link in releases.glob("*"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)


def tidy(run: Run) -> None:
    """What ``workspace.keep`` asks for, at the end of a run. A failure of it is told, and is none of the run's."""
    keep = run.spec.workspace.keep
    if keep is None:
        return
    try:
        gone = clean(run.workspace, keep, lambda: releases_of_rollouts(run.workspace.root, run.spec.fleet.ledger))
    except JetlaneError as error:
        run.note(f"nothing older was removed from the workspace (workspace.keep): {error}")
        return
    if gone:
        size = sum(one.size for one in gone)
        run.note(f"{len(gone)} things of older runs were removed, {size / 1e6:.1f} MB (workspace.keep: {keep})")
