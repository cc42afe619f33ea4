"""Where a training starts from: a checkpoint, one out of an archive, or that of a release.

``live`` is another model after every rollout, and a training that starts from another model is another training. A live
model that was trained on this very data, by this very config, is therefore not gone on from: the run finds its training
again, and nothing is done. See ``start_of``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import SpecError, TrainingError
from jetlane.specs.schema_train import StartFrom
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.digests import Digest, digest_of, sha256_file
from jetlane.tasks.run.live_release import live_release
from jetlane.tasks.run.release_training import Training, training_of

CODE = ("jetlane.tasks.odapi.zoo_archive",)


@dataclass(frozen=True)
class Start:
    """A checkpoint to start from.

    Attributes:
        prefix: Of its files.
        digest: Of its files.
        told: What it is, in words.
    """

    prefix: Path
    digest: str
    told: str

    def to_json(self) -> dict[str, str]:
        return {"prefix": str(self.prefix), "digest": str(self.digest), "told": self.told}


def start_of(run: Run, recipe: str) -> Optional[Start]:
    """What the spec's training starts from; None: from nothing.

    Args:
        recipe: Digest of all else that shapes the training. Where the live model is what came of it, its training's own
            start is this one's too, and the training is found in the workspace.

    Raises:
        TrainingError: The archive cannot be had, or is another one; the release's checkpoint is gone.
        SpecError: There is nothing to start from, and layers are to be frozen.
    """
    spec = run.spec.train
    asked = spec.start_from or StartFrom(checkpoint=spec.fine_tune_checkpoint)
    start = _live(run, recipe) if asked.live else None
    if start is None:
        start = _named(run, asked)
    elif start.digest == "":
        start = None
    if start is None and spec.freeze is not None:
        raise SpecError(
            "train.freeze: there is nothing to start from yet",
            f"no release of {run.spec.name} is live: what was never trained would be frozen",
            "name a checkpoint or an archive in train.start_from, beside live",
        )
    return start


def _named(run: Run, asked: StartFrom) -> Optional[Start]:
    if asked.checkpoint is not None:
        return of_checkpoint(Path(asked.checkpoint), asked.checkpoint)
    if asked.archive is not None:
        return _of_archive(run, asked.archive, asked.sha256)
    if asked.release is not None:
        return _of_training(_trained(run, asked.release), f"the release {Path(asked.release).name}")
    return None


def of_checkpoint(prefix: Path, told: str) -> Start:
    """A checkpoint by the content of its files."""
    files = sorted(prefix.parent.glob(prefix.name + ".*"))
    return Start(prefix, digest_of({file.name: sha256_file(file) for file in files}), told)


def _live(run: Run, recipe: str) -> Optional[Start]:
    """From the live model; with an empty digest where its training, which is this one, started from nothing."""
    release = live_release(run.workspace.root, run.spec.name)
    if release is None:
        run.note("train: no release is live yet, so there is none to start from")
        return None
    trained = _trained(run, release)
    if trained.facts.get("recipe") != recipe:
        return _of_training(trained, f"the live release {release}")
    known: Mapping[str, Any] = trained.facts.get("start") or {"prefix": "", "digest": "", "told": ""}
    return Start(Path(known["prefix"]), known["digest"], known["told"])


def _trained(run: Run, release: str) -> Training:
    folder = Path(release) if "/" in release else run.workspace.root / "releases" / release
    if not folder.is_dir():
        raise TrainingError(
            f"train.start_from: there is no release {release} in this workspace",
            f"{folder} is no folder",
            "name one of `ls releases` there, or start from a checkpoint",
        )
    found = training_of(run.workspace.root, folder)
    if found is None or not found.checkpoint.with_name(found.checkpoint.name + ".index").is_file():
        raise TrainingError(
            f"train.start_from: the checkpoint of the release {release} is not in this workspace",
            "its training was removed, or took place elsewhere; a release itself holds no checkpoint",
            "start from a checkpoint or an archive, or from nothing",
        )
    return found


def _of_training(trained: Training, told: str) -> Start:
    return of_checkpoint(trained.checkpoint, told)


def _of_archive(run: Run, archive: str, sha256: Optional[str]) -> Start:
    from jetlane.tasks.odapi.zoo_archive import refuse_other

    remote = "://" in archive
    digest = Digest(sha256 or "") if remote else sha256_file(archive)
    if not remote:
        refuse_other(Path(archive), digest, sha256)
    unpacked = run.workspace.step(
        "start", inputs={"archive": digest}, params={}, code=CODE, make=lambda out: _unpack(run, archive, digest, out)
    )
    return of_checkpoint(unpacked.file(unpacked.facts["checkpoint"]), archive)


def _unpack(run: Run, archive: str, sha256: str, out: Path) -> Mapping[str, Any]:
    from jetlane.tasks.odapi.zoo_archive import fetch, unpack

    if "://" not in archive:
        return {"checkpoint": unpack(Path(archive), out)}
    fetched = out / "fetched"

    def told(size: int, whole: int) -> None:
        text = f"{archive}: {size / 1e6:.0f} MB" + (f" of {whole / 1e6:.0f}" if whole else "")
        run.observer.update("train", size / whole if whole else None, text)

    fetch(archive, sha256, fetched, told)
    prefix = unpack(fetched, out)
    fetched.unlink()
    return {"checkpoint": prefix}
