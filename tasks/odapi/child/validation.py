"""Evaluations amid a training: the validation curve, its best checkpoint, and an end when nothing is gained."""

from __future__ import annotations

import glob
import json
import os
from typing import Any, Optional

from . import slots

FILE = "validation.json"
#: What is best, by the name it has in the spec.
METRICS = ("map", "map50", "map75", "worst_class")
_COCO = {"map": "Precision/mAP", "map50": "Precision/mAP@.50IOU", "map75": "Precision/mAP@.75IOU"}


class Validation:
    """What a training's checkpoints are worth, kept in a file so that a resumed training goes on with it.

    Args:
        arguments: ``model_dir``, ``evaluate_every`` (steps between evaluations), ``metric`` (one of ``METRICS``) and
            ``patience`` (evaluations without a gain that end the training; None: none do).
        total: Steps of the training.
        network: Evaluates and keeps checkpoints, by ``measure(prefix)``, ``keep(prefix, best)``, ``place(step)``: the
            prefix of the best one, if it is that of this step, and ``close()``.
    """

    def __init__(self, arguments: dict[str, Any], total: int, network: Any, emit: Any) -> None:
        self.every, self.metric, self.patience = (arguments[name] for name in ("evaluate_every", "metric", "patience"))
        self._total, self._network, self._emit = total, network, emit
        self._path = os.path.join(arguments["model_dir"], FILE)
        self.rows: list[dict[str, Any]] = _load(self._path)

    @property
    def best(self) -> Optional[dict[str, Any]]:
        """The first of the best evaluations."""
        return max(self.rows, key=lambda row: row[self.metric]) if self.rows else None

    @property
    def waited(self) -> int:
        """Evaluations since the best one."""
        return len(self.rows) - 1 - self.rows.index(self.best) if self.best else 0

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    @property
    def checkpoint(self) -> Optional[str]:
        """Prefix of the best checkpoint, which has no optimiser slots."""
        return str(self._network.place(self.best["step"])) if self.best else None

    def is_due(self, step: int) -> bool:
        """Whether the checkpoint of a step is to be evaluated, and was not yet."""
        asked = step > 0 and (step % self.every == 0 or step == self._total)
        return asked and all(row["step"] != step for row in self.rows)

    def see(self, prefix: str, step: int) -> bool:
        """Evaluate a checkpoint where its step asks for it; True when training is to end."""
        if self.is_due(step):
            row = {"step": step, **self._network.measure(prefix)}
            self.rows.append(row)
            self._keep_best(prefix)
            self._emit("evaluated", **row)
        return self.exhausted

    def close(self) -> None:
        """Give back what the evaluated network holds."""
        self._network.close()

    def facts(self) -> dict[str, Any]:
        """What a training tells of it."""
        gave_up = self.exhausted and self.rows[-1]["step"] < self._total
        return {"metric": self.metric, "best": self.best, "evaluations": self.rows, "gave_up": gave_up}

    def _keep_best(self, prefix: str) -> None:
        """The best is there before the file names it, and what was best before goes after that."""
        best = self.checkpoint
        assert best is not None
        if self.waited == 0:
            self._network.keep(prefix, best)
        with open(self._path + ".tmp", "w", encoding="utf-8") as file:
            json.dump(self.rows, file)
        os.replace(self._path + ".tmp", self._path)
        for path in glob.glob(os.path.join(glob.escape(os.path.dirname(best)), "*ckpt-*")):
            if not path.startswith(best + "."):
                slots.delete(path)


def _load(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            rows: list[dict[str, Any]] = json.load(file)
            return rows
    except (OSError, ValueError):
        return []


def figures(coco: dict[str, Any], classes: dict[str, Any]) -> dict[str, float]:
    """mAP, mAP@0.5, mAP@0.75 and the least AP@0.5 of a class, under the names of ``METRICS``.

    Args:
        coco: By the OD API's names, without what they begin with.
        classes: Of ``class_metrics.per_class``.
    """
    known = [one["AP@0.5"] for one in classes.values() if one["AP@0.5"] is not None]
    return {**{name: float(coco[key]) for name, key in _COCO.items()}, "worst_class": min(known, default=0.0)}
