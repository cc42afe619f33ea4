"""``make evidence``: NVIDIA's parsers on each pattern and golden graph that the converter writes otherwise than it did.

``python -m tests.uffparser.make_evidence [--versions 5.1,6.0] [--again]``. What came out goes into ``record.json``;
with the record of the GPU (tests/tensorrt) it makes ``evidence.json``, which is shipped.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tests.tasks.converter.lowering.golden import CASES
from tests.uffparser import evidence_page, graphs, meaning, patterns
from tests.uffparser.evaluate import Network, evaluate
from tests.uffparser.parsing import far, parse, prepare
from tests.uffparser.records import (
    EVIDENCE,
    GPU,
    GRAPH,
    PARSERS,
    PATTERN,
    Run,
    Written,
    counting,
    evidence,
    evidence_text,
    put,
    read_runs,
)
from tests.uffparser.written import written_graph, written_pattern

from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff import uff_to_bytes
from jetlane.tasks.converter.uff.evidence import VERSIONS

#: Patterns in a file, as a parser takes a second to start.
AT_ONCE = 15
#: Largest difference from TensorFlow, as a share of the largest number.
TOLERANCE = 1e-4
#: The parsers that run here, whole.
PARSER_VERSIONS = {"5.1": "5.1.5", "6.0": "6.0.1", "7.0": "7.0.0", "7.1": "7.1.3", "7.2": "7.2.3"}


def run_patterns(version: str, wanted: list[Written]) -> Iterator[Run]:
    """The runs of patterns, several of them in a file; what is refused is tried in smaller ones."""
    if not wanted:
        return
    file = patterns.file_of(*(one.name for one in wanted))
    ends = [f"MarkOutput_{index}" for index in range(len(file.outputs))]
    parsed = parse(version, uff_to_bytes(file.uff), {"Input": (3, *patterns.SIZE)}, ends)
    if parsed.network is None and len(wanted) > 1:
        half = len(wanted) // 2
        yield from run_patterns(version, wanted[:half])
        yield from run_patterns(version, wanted[half:])
        return
    for one in wanted:
        made = {"tensorrt": PARSER_VERSIONS[version], "kind": PATTERN, "name": one.name, "signature": one.signature}
        if parsed.network is None:
            yield Run(**made, parsed=False, ran=False, right=None, said=parsed.said)
        else:
            yield _compared(made, parsed.network, file.of(one.name))


def _compared(made: dict[str, str], network: Network, file: patterns.PatternFile) -> Run:
    expected = expected_of(made["name"])
    try:
        found = evaluate(network, {"Input": patterns.image()}, file.outputs)
    except (ValueError, KeyError, NotImplementedError) as error:  # the network contradicts itself
        return Run(**made, parsed=True, ran=False, right=False, said=f"{type(error).__name__}: {error}")
    apart = {str(index): far(found[name], expected[name]) for index, name in enumerate(file.outputs)}
    return Run(**made, parsed=True, ran=False, right=max(apart.values()) < TOLERANCE,
               differences={"": float(f"{max(apart.values()):.1e}")})  # fmt: skip


@functools.cache
def expected_of(pattern: str) -> dict[str, np.ndarray]:
    """What TensorFlow gives for each output of a pattern's file."""
    file = patterns.file_of(pattern)
    return meaning.run(file.graph, {"Input": patterns.image().transpose(1, 2, 0)[None]}, file.outputs)


def run_graph(version: str, one: Written, folder: Path, params: PluginParams) -> Run:
    outcome = graphs.judged(version, folder, params)
    differences = {"boxes": outcome.boxes, "scores": outcome.scores} if outcome.parsed else {}
    return Run(
        tensorrt=PARSER_VERSIONS[version], kind=GRAPH, name=one.name, signature=one.signature, parsed=outcome.parsed,
        ran=False, right=outcome.right, differences={key: float(f"{far:.1e}") for key, far in differences.items()},
        said=outcome.said,
    )  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--versions", default=",".join(PARSER_VERSIONS), help="of the parsers, with commas")
    options.add_argument("--again", action="store_true", help="run what was run, too")
    options.add_argument("--combine", action="store_true", help="run nothing; make the evidence of the records")
    given = options.parse_args()
    versions = [] if given.combine else given.versions.split(",")
    for version in versions:
        said = prepare(version)
        if said:
            raise SystemExit(f"NVIDIA's UFF parser of TensorRT {version} cannot be had: {said}")
    written = [written_pattern(name) for name in patterns.FORMS]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for name in CASES:
            one, params = written_graph(name, Path(folder, name))
            written.append(one)
            todo = [version for version in versions if given.again or _is_open(version, one)]
            jobs = [pool.submit(run_graph, version, one, Path(folder, name), params) for version in todo]
            put(PARSERS, [job.result() for job in jobs], written)
            print(f"{name}: {', '.join(todo) or 'nothing to run'}", flush=True)
        for version in versions:
            todo = [one for one in written if one.kind == PATTERN and (given.again or _is_open(version, one))]
            for start in range(0, len(todo), AT_ONCE):
                put(PARSERS, run_patterns(version, todo[start : start + AT_ONCE]), written)
            print(f"TensorRT {version}: {len(todo)} patterns", flush=True)
    finish(written)


def _is_open(version: str, one: Written) -> bool:
    runs = counting(read_runs(PARSERS), [one])
    return all(run.version != version for run in runs)


def finish(written: list[Written]) -> None:
    """Make the evidence, and say what is to be run on a GPU."""
    put(PARSERS, [], written)
    runs = [*read_runs(PARSERS), *read_runs(GPU)]
    EVIDENCE.write_text(evidence_text(evidence(runs, written)))
    evidence_page.write()
    for version in VERSIONS:
        done = {(run.kind, run.name) for run in counting(runs, written) if run.version == version.name}
        missing = [f"{one.kind} {one.name}" for one in written if (one.kind, one.name) not in done]
        if missing:
            print(f"not run by TensorRT {version.name} as they are written now: {', '.join(missing)}")


if __name__ == "__main__":
    main()
