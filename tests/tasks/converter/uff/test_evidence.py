"""The evidence that is shipped is what NVIDIA's TensorRT was run on, and the converter still writes that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tasks.converter.graph.sketches import Sketch
from tests.uffparser.evidence_page import MODELS, PAGE, page, with_column
from tests.uffparser.patterns import FORMS, file_of
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
    read_written,
)
from tests.uffparser.written import changed, written_pattern

from jetlane.tasks.converter.uff import convert_graph, parser_forms
from jetlane.tasks.converter.uff.evidence import RIGHT, VERSIONS, not_on, record
from jetlane.tasks.converter.uff.model import PARSED, PARTLY, RAN, UNPROVEN

PARSERS_RUN = {version.name for version in VERSIONS if not version.on_gpu}


def test_each_pattern_is_written_as_it_was_run() -> None:
    again = changed([written_pattern(name) for name in FORMS], read_written())
    assert not again, f"TensorRT was not run on what is written now: {'; '.join(again)}. Run `make evidence`"


def test_a_change_of_what_is_written_names_the_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_forms, "_TO_FIRST", (0, 3, 2, 1))
    names = ["Softmax, channels first", "Conv, same padding", "Reshape"]
    again = changed([written_pattern(name) for name in names], read_written())
    assert again == ["pattern Softmax, channels first"]


def test_what_is_shipped_is_made_of_the_runs() -> None:
    made = evidence_text(evidence([*read_runs(PARSERS), *read_runs(GPU)], read_written()))
    assert EVIDENCE.read_text() == made, "run `make evidence`"


def test_every_parser_was_run_on_every_pattern_and_graph_and_reads_every_graph_rightly() -> None:
    written = read_written()
    runs = counting(read_runs(PARSERS), written)
    assert {(run.kind, run.name, run.version) for run in runs} == {
        (one.kind, one.name, version) for one in written for version in PARSERS_RUN
    }
    assert {one.name for one in written if one.kind == PATTERN} == set(FORMS)
    assert all(run.result == RIGHT for run in runs if run.kind == GRAPH)


@pytest.mark.parametrize("name", FORMS)
def test_a_pattern_s_file_holds_the_pattern(name: str) -> None:
    assert name in {item.pattern for item in file_of(name).uff.evidence}


def test_versions_that_do_not_read_a_pattern_are_named() -> None:
    """5.1 has no LeakyRelu and no FlattenConcat_TRT."""
    for name in ("LeakyRelu", "_FlattenConcat_TRT"):
        (found,) = (item for item in file_of(name).uff.evidence if item.pattern == name)
        assert found.status == PARTLY and found.not_on == ("5.1",)
        assert "5.1 (JetPack 4.2) refuse it" in found.reason
        assert not_on([found]) == [{"from": "5.0", "below": "6.0", "patterns": [name]}]


def test_what_no_version_was_run_on_is_unproven() -> None:
    sketch = Sketch()
    sketch.input("x", (1, 3, 4, 4))
    sketch.add("y", "Rare", "x")
    uff = convert_graph(sketch.graph(), ["y"])
    assert [(item.pattern, item.reason) for item in uff.unproven] == [("_Rare", "no parser is known to read it")]


def test_the_status_of_each_pattern_follows_from_its_runs() -> None:
    statuses = {name: file_of(name).uff.evidence for name in ("Conv, same padding", "Activation relu6")}
    for name, items in statuses.items():
        (found,) = (item for item in items if item.pattern == name)
        assert set(record()[name]) >= PARSERS_RUN and set(record()[name].values()) == {RIGHT}
        assert found.status == (RAN if "8.6" in record()[name] else PARSED) != UNPROVEN


def run(name: str, version: str, kind: str = PATTERN, signature: str = "now", **said: Any) -> Run:
    given = {"parsed": True, "ran": version == "8.6.1", "right": True, "gpu": "a GPU" * (version == "8.6.1"), **said}
    return Run(version, kind, name, signature, **given)


def test_what_the_runs_say_of_each_pattern() -> None:
    written = [
        Written(PATTERN, "Softmax", "now", ("Input", "Softmax")),
        Written(GRAPH, "good", "now", ("Conv", "Softmax")),
        Written(GRAPH, "bad", "now", ("Conv", "Pad")),
    ]
    runs = [
        run("Softmax", "5.1.5"),
        run("Softmax", "7.1.3", right=False),
        run("Softmax", "7.2.3", parsed=False, right=None),
        run("Softmax", "8.6.1", signature="of an earlier form"),
        run("good", "7.1.3", GRAPH),
        run("good", "8.6.1", GRAPH),
        run("bad", "8.6.1", GRAPH, ran=False, right=None),
        run("bad", "6.0.1", GRAPH, right=False),
    ]
    assert evidence(runs, written) == {
        "Conv": {"7.1": "right", "8.6": "right"},
        "Input": {"5.1": "right"},  # what is in a pattern's file, too
        "Softmax": {"5.1": "right", "7.1": "wrong", "7.2": "refused", "8.6": "right"},  # of its own file first
    }


def test_a_new_run_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    put(path, [run("Conv", "8.6.1", signature=""), run("Pad", "8.6.1")])
    put(path, [run("Conv", "8.6.1", right=False)])
    assert [(one.name, one.signature, one.result) for one in read_runs(path)] == [
        ("Conv", "now", "wrong"),
        ("Pad", "now", "right"),
    ]


def test_the_pages_say_what_the_records_say() -> None:
    runs, written = [*read_runs(PARSERS), *read_runs(GPU)], read_written()
    assert PAGE.read_text() == page(runs, written), "run `make evidence`"
    assert MODELS.read_text() == with_column(MODELS.read_text(), runs, written), "run `make evidence`"
