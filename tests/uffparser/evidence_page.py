"""docs/uff-evidence.md: what each version of TensorRT made of the golden graphs and of every pattern. ``make evidence``
writes it, and the column of docs/supported-models.md that says the same of each graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.uffparser.records import (
    ARCHITECTURE,
    GPU,
    GRAPH,
    ONNX,
    PARSERS,
    PATTERN,
    ROOT,
    UFF,
    Run,
    Written,
    counting,
    read_runs,
    read_written,
)

from jetlane.tasks.converter.uff.evidence import REFUSED, RIGHT, VERSIONS, WRONG, Version

PAGE = ROOT / "docs" / "uff-evidence.md"
MODELS = ROOT / "docs" / "supported-models.md"
#: The column of MODELS.
COLUMN = "UFF in TensorRT"

HEAD = """# What TensorRT makes of the UFF

What NVIDIA's own TensorRT was run on, and what came of it; `make evidence` makes this page
([how](uff.md#evidence)). The parsers of 5.1 to 7.2 were run without a GPU: the network that they made of a file,
evaluated with numpy, is *right* where it is what is meant. For 8.6 an engine was built and run on a GPU. A pattern is
an operation with what is particular about its use, in several forms, on maps whose dimensions differ and on others
where they agree.

*right*; *WRONG*: taken, and something else was computed; *refused*: by the parser; *-*: not run in the form that is
written now.
"""

NETWORKS = """
## Networks on a GPU

Boxes and scores of TensorRT 8.6.1, by either backend, in float32 without TF32: the largest difference from the same
network computed in float64, and whether it is within ten times of what float32 makes of it elsewhere (*right*). The
golden graphs, and architectures that the Object Detection API of today makes anew, with random weights.

| network | boxes and scores by UFF | by ONNX |
|---|---|---|
"""


def page(runs: Iterable[Run], written: Iterable[Written]) -> str:
    written, runs = list(written), list(runs)
    results = {(run.kind, run.name, run.version): run.result for run in counting(runs, written)}
    graphs, patterns = ([one.name for one in written if (one.kind == GRAPH) is wanted] for wanted in (True, False))
    lines = [HEAD, "| TensorRT | on boards with | golden graphs | patterns |", "|---|---|---|---|"]
    for version in VERSIONS:
        counts = [_counts([results.get((kind, name, version.name)) for name in names])
                  for kind, names in ((GRAPH, graphs), (PATTERN, patterns))]  # fmt: skip
        name = f"{version.name} on a GPU" if version.on_gpu else version.name
        lines.append(f"| {name} | {version.jetpack or 'none'} | {counts[0]} | {counts[1]} |")
    lines += ["", "Boards of versions between these are taken for the nearest that was run: 8.0 to 8.5 for 8.6.", ""]
    lines += ["## Patterns", "", f"| pattern | {' | '.join(version.name for version in VERSIONS)} |"]
    lines += ["|---" * (1 + len(VERSIONS)) + "|"]
    for name in sorted(patterns):
        cells = [_cell(results.get((PATTERN, name, version.name))) for version in VERSIONS]
        lines.append(f"| {name.lstrip('_')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + _networks(runs)


def _networks(runs: Iterable[Run]) -> str:
    mine = {(run.kind, run.name, run.backend): run for run in runs if run.gpu and run.kind in (GRAPH, ARCHITECTURE)}
    names = {key[:2] for key in mine}
    rows = [
        f"| {name} | " + " | ".join(_network(mine.get((kind, name, backend))) for backend in (UFF, ONNX)) + " |"
        for kind, name in sorted(names, key=lambda one: (one[0] == ARCHITECTURE, one[1]))
    ]
    return NETWORKS + "\n".join(rows) + "\n"


def _network(run: Run | None) -> str:
    if run is None:
        return "-"
    return ", ".join([_cell(run.result), *(f"{run.differences[part]:.1e}" for part in run.differences)])


def _cell(result: str | None) -> str:
    return {RIGHT: "right", WRONG: "WRONG", REFUSED: "refused", None: "-"}[result]


def _counts(results: Sequence[str | None]) -> str:
    said = [f"{results.count(RIGHT)} of {len(results)} right"]
    said += [f"{results.count(one)} {word}" for one, word in ((WRONG, "wrong"), (REFUSED, "refused"), (None, "not run"))
             if results.count(one)]  # fmt: skip
    return ", ".join(said)


def of_graph(name: str, runs: Iterable[Run], written: Iterable[Written]) -> str:
    """The cell of a golden graph: which versions took its UFF and made of it what is meant."""
    mine = [run for run in runs if (run.kind, run.name) == (GRAPH, name)]
    now = {run.version: run.result for run in counting(mine, written)}
    earlier = {run.version: run.result for run in mine if run.version not in now}
    said = [f"right: {_names(now, RIGHT)}"] if RIGHT in now.values() else []
    said += [
        f"**{word}**: {_names(now, one)}"
        for one, word in ((WRONG, "wrong"), (REFUSED, "refused"))
        if one in now.values()
    ]
    said += [f"right in an earlier form: {_names(earlier, RIGHT)}"] if RIGHT in earlier.values() else []
    return "; ".join(said) or "not run"


def _names(results: dict[str, str], result: str) -> str:
    return ", ".join(_spelled(version) for version in VERSIONS if results.get(version.name) == result)


def _spelled(version: Version) -> str:
    return f"{version.name} (run)" if version.on_gpu else version.name


def with_column(text: str, runs: Iterable[Run], written: Iterable[Written]) -> str:
    """docs/supported-models.md with the cells of COLUMN as the runs have them."""
    runs, written, lines = list(runs), list(written), text.split("\n")
    head = next(line for line in lines if COLUMN in line.split(" | "))
    place = head.split(" | ").index(COLUMN)
    graphs = {one.name for one in written if one.kind == GRAPH}
    for index, line in enumerate(lines):
        cells = line.split(" | ")
        name = cells[0].strip("| ").partition(" ")[0]
        if name in graphs:
            cells[place] = of_graph(name, runs, written)
            lines[index] = " | ".join(cells)
    return "\n".join(lines)


def write() -> None:
    runs, written = [*read_runs(PARSERS), *read_runs(GPU)], read_written()
    PAGE.write_text(page(runs, written))
    MODELS.write_text(with_column(MODELS.read_text(), runs, written))
