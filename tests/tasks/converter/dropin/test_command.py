"""``convert-to-uff``: its flags, and that errors are for the person."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from jetlane.tasks.converter.dropin.command import main
from jetlane.tasks.converter.uff import read_uff


@pytest.fixture
def frozen(third_party: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(third_party / "uff" / "swc17_ppo_model.pb", tmp_path / "model.pb"))


def run(*words: Any) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_the_output_lies_beside_the_graph(frozen: Path, third_party: Path, capsys: Any) -> None:
    assert run(frozen, "-O", "policy/output", "-t") == 0
    golden = read_uff(third_party / "uff" / "swc17_ppo_model.uff")
    assert read_uff(frozen.with_suffix(".uff")).message == golden.message
    assert sorted(path.name for path in frozen.parent.iterdir()) == ["model.pb", "model.pbtxt", "model.uff"]
    said = capsys.readouterr().out
    assert "Using output node policy/output" in said and f"No. nodes: {len(golden.nodes)}" in said


def test_nvidias_own_command_line_is_accepted(frozen: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "other.uff"
    assert run("tensorflow", "-o", out, "--input-file", frozen, "-O", "policy/output", "-q") == 0
    assert out.is_file() and capsys.readouterr().out == ""


def test_list_nodes_converts_nothing(frozen: Path, capsys: Any) -> None:
    assert run("-l", frozen) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '0 Placeholder: "input_state_placeholder"' and '7 Relu: "policy/dense/Relu"' in lines
    assert [path.name for path in frozen.parent.iterdir()] == ["model.pb"]


def test_a_node_becomes_an_input(frozen: Path) -> None:
    before = read_uff_after(frozen, "-O", "policy/output")
    made = read_uff_after(frozen, "-O", "policy/output", "-I", "policy/dense/Relu,Data,float32,-1,64")
    assert made.node("policy/dense_1/MatMul").inputs == ("Data", "policy/dense_1/kernel")
    assert made.node("Data").fields == {"shape": [-1, 64], "dtype": "DT_FLOAT32"}
    assert len(made.nodes) < len(before.nodes)


def read_uff_after(frozen: Path, *words: str) -> Any:
    assert run(frozen, "-q", *words) == 0
    return read_uff(frozen.with_suffix(".uff"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-O", "nothing"), "'nothing' was not found in the graph"),
        (("-I", "policy/output"), "does not say which node becomes which input"),
        (("-I", "nothing,x,float32,1"), "'nothing' was not found in the graph"),
        (("-p", "absent.py"), "cannot read absent.py: no such file"),
        (("-o", "no/such/folder/model.uff", "-O", "policy/output"), "cannot write no/such/folder/model.uff"),
    ],
)
def test_errors_are_for_the_person(frozen: Path, capsys: Any, words: tuple[str, ...], said: str) -> None:
    assert run(frozen, *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and "what to do: " in error
    assert not frozen.with_suffix(".uff").exists()


def test_no_graph_or_two_graphs_are_refused(frozen: Path, capsys: Any) -> None:
    assert run() == 2
    assert run(frozen, frozen) == 2
    assert "name one frozen graph" in capsys.readouterr().err
    assert run("--version") == 0
