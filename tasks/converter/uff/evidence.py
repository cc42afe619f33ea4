"""What speaks for each operation we write: which versions of NVIDIA's TensorRT were run, and what they made of it.

``evidence.json`` is made of those runs by ``make evidence``. ``make test`` holds it to what the converter writes now.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.converter.uff.model import PARSED, PARTLY, RAN, UNPROVEN, Evidence, UffNode
from jetlane.tasks.converter.uff.patterns import patterns

#: What a version made of a pattern.
RIGHT, WRONG, REFUSED = "right", "wrong", "refused"


@dataclass(frozen=True)
class Version:
    """A version of TensorRT that was run.

    Attributes:
        name: As the record has it.
        first, below: The versions of boards that it stands for; ``below`` is the first that it does not stand for.
        jetpack: Who has those; empty where no Jetson does.
        on_gpu: It built and ran engines; of the others the parser alone was run.
    """

    name: str
    first: str
    below: str
    jetpack: str
    on_gpu: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.jetpack})" if self.jetpack else self.name


VERSIONS = (
    Version("5.1", "5.0", "6.0", "JetPack 4.2"),
    Version("6.0", "6.0", "7.0", "JetPack 4.3"),
    Version("7.0", "7.0", "7.1", ""),
    Version("7.1", "7.1", "7.2", "JetPack 4.4 and 4.5"),
    Version("7.2", "7.2", "8.0", ""),
    Version("8.6", "8.0", "9.0", "JetPack 4.6 to 6.0", on_gpu=True),
)


@functools.cache
def record() -> Mapping[str, Mapping[str, str]]:
    """{pattern: {version: ``right``, ``wrong`` or ``refused``}} of all that was run."""
    return dict(json.loads(Path(__file__).with_name("evidence.json").read_text(encoding="utf-8")))


def judge(nodes: Iterable[UffNode], shapes: Mapping[str, Optional[tuple[int, ...]]]) -> tuple[Evidence, ...]:
    """The evidence for every pattern of a graph, strongest doubt first.

    Args:
        shapes: Static shapes of nodes, where known.
    """
    rank = {UNPROVEN: 0, PARTLY: 1, PARSED: 2, RAN: 3}
    items = [evidence_of(pattern, ids) for pattern, ids in patterns(nodes, shapes).items()]
    return tuple(sorted(items, key=lambda item: (rank[item.status], item.pattern)))


def not_on(items: Sequence[Evidence]) -> list[dict[str, Any]]:
    """The versions that are known to refuse or misread something of a graph.

    Returns:
        For each: ``from``, ``below`` (the versions of boards), ``patterns``.
    """
    found: list[dict[str, Any]] = []
    for version in VERSIONS:
        concerned = [item.pattern for item in items if version.name in item.not_on]
        if concerned:
            found.append({"from": version.first, "below": version.below, "patterns": concerned})
    return found


def evidence_of(pattern: str, ids: Iterable[str] = ()) -> Evidence:
    """The evidence for one pattern.

    Args:
        ids: Of the nodes that show it.
    """
    results = record().get(pattern, {})
    said: dict[str, list[Version]] = {RIGHT: [], WRONG: [], REFUSED: []}
    for version in VERSIONS:
        if version.name in results:
            said[results[version.name]].append(version)
    right, bad = said[RIGHT], (*said[WRONG], *said[REFUSED])
    if not right:
        reason = f"{_names(bad)} cannot take it" if bad else "no parser is known to read it"
        return Evidence(pattern, UNPROVEN, tuple(ids), reason, tuple(one.name for one in bad))
    reason = f"TensorRT {_names(right)} read it as it is meant"
    for verb, versions in (("misread", said[WRONG]), ("refuse", said[REFUSED])):
        reason += f"; {_names(versions)} {verb} it" if versions else ""
    if bad:
        return Evidence(pattern, PARTLY, tuple(ids), reason, tuple(one.name for one in bad))
    ran = any(one.on_gpu for one in right)
    return Evidence(pattern, RAN if ran else PARSED, tuple(ids), reason)


def _names(versions: Iterable[Version]) -> str:
    names = [str(version) for version in versions]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
