"""Which training in the workspace a release came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.support.local_files import read_json
from jetlane.tasks.run.digests import digest_of, unsealed
from jetlane.tasks.run.outputs import MANIFEST

#: Steps that train, in their order.
STEPS = ("train", "retrain")


@dataclass(frozen=True)
class Training:
    """A step ``train`` that is in the workspace, or ``retrain`` of a model that was pruned.

    Attributes:
        path: Its folder.
        facts: What it recorded.
    """

    path: Path
    facts: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        """Prefix of the checkpoint that it gave."""
        return self.path / str(self.facts["checkpoint"])


def training_of(root: Path, release: Path) -> Optional[Training]:
    """The last training whose outputs a release says that it was made of; None where it is gone, or was elsewhere.

    Args:
        root: The workspace's folder.
        release: The release's folder.
    """
    found = trainings_of(root, release)
    return found[-1] if found else None


def trainings_of(root: Path, release: Path) -> list[Training]:
    """All of them, in order: a model that was pruned was trained twice. Empty where the last is gone."""
    told = read_json(release / MANIFEST)
    sources = told.get("sources") if isinstance(told, dict) else None
    wanted = [(step, sources.get(f"step {step}")) for step in STEPS] if isinstance(sources, dict) else []
    found = [_trained(root, step, digest) for step, digest in wanted if digest]
    return [one for one in found if one] if found and found[-1] else []


def _trained(root: Path, step: str, wanted: str) -> Optional[Training]:
    for path in sorted((root / "steps" / step).glob(f"*/{MANIFEST}")):
        opened = unsealed(read_json(path))
        if opened is not None and _digest(opened[0]) == wanted:
            return Training(path.parent, opened[0]["facts"])
    return None


def _digest(manifest: Mapping[str, Any]) -> Optional[str]:
    """As ``StepResult.digest`` gives it."""
    try:
        return digest_of({name: entry["sha256"] for name, entry in manifest["outputs"].items()})
    except (KeyError, TypeError, AttributeError):
        return None
