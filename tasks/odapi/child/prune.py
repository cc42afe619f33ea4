"""A trained checkpoint with fewer channels: the weakest of each layer go, and what reads or follows them.

The OD API builds the narrower network by itself (see ``widths``). It is built here once, and must be the same network
operation by operation: where the API decides by a width (a residual connection where two happen to be equal, a
projection where they are not), that width is changed until it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np

from . import channel_choice, compat, configs, slots, widths
from .channels import Channels, Group
from .errors import JobError
from .network import Network
from .widths import Widths

_AVERAGE = "/ExponentialMovingAverage"
#: Rebuildings after which it is given up.
_ATTEMPTS = 100


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Prune.

    Args:
        arguments: ``pipeline_config``; ``checkpoint`` (prefix); ``out``: prefix of the one that is written, with its
            table of widths and without the optimizer's variables; ``settings``: ``fraction`` or ``threshold``,
            ``norm``, ``equalization``, ``granularity``, ``minimum`` and ``exclude`` (patterns of the layers' names).

    Returns:
        ``parameters`` and ``multiply_adds`` (of one image), each [before, after]; ``layers``: a list of {"layer",
        "before", "after"}, channels.
    """
    compat.apply()
    settings = arguments["settings"]
    pipeline = configs.read_pipeline(arguments["pipeline_config"])
    before = widths.beside(arguments["checkpoint"])
    values = slots.read(arguments["checkpoint"])
    network = Network(pipeline, before)
    if network.failure is not None:
        raise network.failure
    network.refuse_other(values)
    plan = _Plan(network, values, before, settings)
    narrowed = plan.carried_out(pipeline)
    slots.save(plan.sliced(), arguments["out"])
    widths.put_beside(plan.table, arguments["out"])
    return {
        "parameters": [network.parameters, narrowed.parameters],
        "multiply_adds": [network.multiply_adds, narrowed.multiply_adds],
        "layers": plan.layers,
    }


class _Plan:
    """Which units of each group stay."""

    def __init__(
        self, network: Network, values: Mapping[str, Any], before: Optional[Widths], settings: Mapping[str, Any]
    ) -> None:
        self._network, self._settings = network, settings
        self._channels = Channels(network.outputs)
        self._groups = self._channels.groups()
        self._values, self._before = values, before
        self._strength: list[Any] = []
        self._counts: list[int] = []
        _refuse_unknown(settings["exclude"], [name for group in self._groups for name in group.producers])
        for group in self._groups:
            kernels = [
                (values.get(name + _AVERAGE, values[name]), group.places[name, values[name].ndim - 1])
                for name in group.producers
            ]
            strength = channel_choice.strengths(kernels, settings["norm"], settings["equalization"])
            excluded = any(re.search(pattern, name) for pattern in settings["exclude"] for name in group.producers)
            wanted = channel_choice.count(strength, self._full(group), settings)
            self._strength.append(strength)
            self._counts.append(len(strength) if excluded else wanted)

    @property
    def table(self) -> Widths:
        """All widths that could be others: what the API would compute depends on those before."""
        kept: dict[str, int] = {}
        of = dict(self._before.of) if self._before else {}
        for number, group in enumerate(self._groups):
            for name in group.producers:
                scope = _scope(name)
                whole = self._network.shapes[name][-1]
                kept[scope] = kept.get(scope, whole) - len(group.units) + self._counts[number]
                of.setdefault(scope, whole)
        return Widths(kept, of, dict(self._settings))

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Channels by layer, of all that could be pruned."""
        now = self.table.kept
        scopes = {_scope(name): self._network.shapes[name][-1] for group in self._groups for name in group.producers}
        return [{"layer": scope, "before": before, "after": now[scope]} for scope, before in scopes.items()]

    def carried_out(self, pipeline: Any) -> Network:
        """The narrower network, which is the same otherwise.

        Raises:
            JobError: It cannot be had.
        """
        for _ in range(_ATTEMPTS):
            made = Network(pipeline, self.table)
            if not self._widened(made):
                made.refuse_other(self.sliced())
                return made
        raise JobError(
            f"{self._network.kind} cannot be pruned",
            "the Object Detection API builds another network for every choice of widths that was tried",
            "remove train.prune",
        )

    def sliced(self) -> dict[str, Any]:
        """Variables, and moving averages of them, without the channels that go."""
        keep = self._indices()
        found = {}
        for name, value in self._values.items():
            variable = name[: -len(_AVERAGE)] if name.endswith(_AVERAGE) else name
            for axis in range(value.ndim):
                if (variable, axis) in keep:
                    value = value.take(keep[variable, axis], axis)
            found[name] = value
        return found

    def _indices(self) -> dict[tuple[str, int], Any]:
        gone: dict[tuple[str, int], list[Any]] = {}
        for number, group in enumerate(self._groups):
            kept = channel_choice.strongest(self._strength[number], self._counts[number])
            for axis, places in group.places.items():
                gone.setdefault(axis, []).append(np.delete(places, kept))
        return {
            (name, axis): np.delete(np.arange(self._network.shapes[name][axis]), np.concatenate(each))
            for (name, axis), each in gone.items()
        }

    def _widened(self, made: Network) -> bool:
        """Whether the network that was made differs, and a width was changed for it."""
        own, other = self._network.operations, made.operations
        differing = [one for key, one in other.items() if key not in own]
        if made.failure is None:
            differing += [one for key, one in own.items() if key not in other]
        for operation in differing:
            found = list(self._read_by(operation))
            if operation.type in ("Add", "AddV2") and found:  # of two that are equal by chance
                narrowest = min(found, key=lambda number: len(self._groups[number].units))
                self._keep_more(narrowest, self._counts[narrowest] + self._settings["granularity"])
                return True
            for number in found:
                self._keep_more(number, len(self._strength[number]))
            if found:
                return True
        if differing or made.failure is not None:
            names = ", ".join(sorted({one.name for one in differing})[:3])
            raise JobError(
                f"{self._network.kind} cannot be pruned",
                f"the Object Detection API builds another network where it is narrower: {made.failure or names}",
                "remove train.prune",
            )
        return False

    def _keep_more(self, number: int, count: int) -> None:
        self._counts[number] = min(count, len(self._strength[number]))

    def _read_by(self, operation: Any) -> Iterator[int]:
        """Groups that an operation reads and that are not whole."""
        units = set().union(*(self._channels.group_of(tensor.name) for tensor in operation.inputs))
        for number, group in enumerate(self._groups):
            if self._counts[number] < len(group.units) and not units.isdisjoint(group.units.tolist()):
                yield number

    def _full(self, group: Group) -> int:
        """Its channels before the network was ever pruned."""
        name = group.producers[0]
        of = self._before.of.get(_scope(name)) if self._before else None
        return round(len(group.units) * (of or 1) / (self._network.shapes[name][-1] if of else 1))


def _refuse_unknown(patterns: Sequence[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise JobError(
                f"train.prune.exclude: no layer that can be pruned has {pattern} in its name",
                "there are {}, ...".format(", ".join(sorted(names)[:: max(1, len(names) // 8)])),
                "take a part of such a name",
            )


def _scope(kernel: str) -> str:
    return os.path.dirname(kernel)
