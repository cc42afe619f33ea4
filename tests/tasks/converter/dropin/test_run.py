"""``convert-to-uff --run``: scripts that build engines run unchanged until their UFF is written."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.converter.dropin.engine_scripts import SCRIPTS, filled
from tests.tasks.converter.dropin.scripts import script

from jetlane.tasks.converter.dropin import uff
from jetlane.tasks.converter.dropin.command import main
from jetlane.tasks.converter.uff import read_uff, uff_from_bytes

GRAPH = "trained_F_t215_v2_160_c3"


@pytest.fixture
def here(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    frozen = case(GRAPH).frozen
    (tmp_path / "exported").mkdir()
    for name in ("model.pb", "exported/frozen_inference_graph.pb"):
        (tmp_path / name).write_bytes(frozen.read_bytes())
    (tmp_path / "pipeline.config").write_bytes((frozen.parent / "pipeline.config").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


def put(files: dict[str, str], folder: Path, plugins: dict[str, Any]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(filled(text, plugins) if "{height}" in text or "{layers}" in text else text)
    return next(iter(files))


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_runs_until_its_uff_is_written(case: Any, here: Path, capsys: Any, kind: str) -> None:
    known, before = SCRIPTS[kind], (set(sys.modules), list(sys.path), sys.argv, ctypes.CDLL, list(sys.meta_path))
    first = put(known.files, here, case(GRAPH).plugins)
    assert run("--strict", "--run", first, *known.arguments) == 0
    said = capsys.readouterr()
    assert said.err == "" and "note" not in said.out
    assert f"{known.uff} is written. " in said.out and known.stopped_at.lower() in said.out.lower()
    made = read_uff(here / known.uff)
    (here / "reference.py").write_text(script(case(GRAPH).plugins))
    plain = uff_from_bytes(uff.from_tensorflow_frozen_model(here / "model.pb", ["NMS"], "reference.py", quiet=True))
    assert {node.operation for node in made.nodes} == {node.operation for node in plain.nodes}
    assert made.node("NMS").inputs[0] == "concat_box_loc" and len(made.nodes) == len(plain.nodes)
    assert not list(here.glob("*.bin"))
    after = (set(sys.modules), list(sys.path), sys.argv, ctypes.CDLL, list(sys.meta_path))
    assert not {"tensorrt", "pycuda", "pycuda.driver", "config", "ssd", "object_detection"} & (after[0] - before[0])
    assert after[1:] == before[1:]


def test_a_uff_that_another_program_wrote_is_the_scripts(case: Any, here: Path, capsys: Any) -> None:
    """Scripts of TensorRT's first years call `convert-to-uff`, and hand its file over."""
    (here / "old.uff").write_bytes((case(GRAPH).converted / "model.uff").read_bytes())
    old = (here / "old.uff").stat().st_mtime - 60
    os.utime(here / "old.uff", (old, old))
    text = (
        "import shutil\nimport sys\nimport tensorrt as trt\nfrom tensorrt.parsers import uffparser\n"
        "if len(sys.argv) > 1:\n    shutil.copyfile('old.uff', 'new.uff')\n"
        "parser = uffparser.create_uff_parser()\nparser.register_output('NMS')\n"
        "trt.UffParser().parse('new.uff' if len(sys.argv) > 1 else 'old.uff', None)"
    )
    (here / "build.py").write_text(text)
    assert run("--run", "build.py") == 1
    assert "before it has converted a graph" in capsys.readouterr().err
    assert run("--run", "build.py", "again") == 0
    assert "new.uff is written. The script was stopped at tensorrt.UffParser.parse" in capsys.readouterr().out


def test_a_uff_kept_in_memory_goes_where_one_says(case: Any, here: Path, capsys: Any) -> None:
    put(SCRIPTS["package"].files, here, case(GRAPH).plugins)
    assert run("-o", "mine.uff", "-q", "--run=ssd/detector.py") == 0
    assert read_uff(here / "mine.uff").node("NMS") and capsys.readouterr().out == ""


def test_wrong_numbers_are_told_and_strictly_refused(case: Any, here: Path, capsys: Any) -> None:
    files = {
        name: text.replace("nmsThreshold=0.6", "nmsThreshold=0.4") for name, text in SCRIPTS["package"].files.items()
    }
    put(files, here, case(GRAPH).plugins)
    assert run("--run", "ssd/detector.py") == 0
    told = "nmsThreshold: the script has 0.4, the model 0.6"
    assert f"warning: NMS: {told}" in capsys.readouterr().err
    (here / "detector.uff").unlink()
    assert run("--strict", "--run", "ssd/detector.py") == 1  # though the script catches exceptions
    assert f"error: 1 of the script's numbers are not the model's: NMS: {told}" in capsys.readouterr().err
    assert not (here / "detector.uff").exists()


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("print('nothing to do')", 1, "ended before it had converted a graph"),
        ("import tensorrt as trt\ntrt.Runtime(trt.Logger()).deserialize_cuda_engine(b'')", 1, "of an earlier run"),
        ("import no_such_module_of_mine", 1, "neither beside the script nor installed"),
        ("import argparse\nargparse.ArgumentParser().parse_args()", 2, "unrecognized arguments: --size 3"),
        ("import sys\nsys.exit('no model')", "no model", ""),
        ("import graphsurgeon as gs\ngs.DynamicGraph('absent.pb')", 1, "absent.pb does not exist"),
        ("x = (", 1, "SyntaxError"),
        (
            "import uff\ntry:\n    uff.from_tensorflow('absent.pb')\nexcept Exception:\n    pass",
            1,
            "absent.pb does not",
        ),
    ],
)
def test_a_script_that_converts_nothing(here: Path, capsys: Any, text: str, code: Any, words: str) -> None:
    (here / "build.py").write_text(text)
    assert run("--run", "build.py", "--size", "3") == code
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_run_takes_no_graph_beside_the_script(here: Path, capsys: Any) -> None:
    assert run("model.pb", "--run", "build.py") == 2
    assert "name the frozen graph to the script" in capsys.readouterr().err
    assert run("--run", "absent.py") == 1
    assert "cannot read absent.py" in capsys.readouterr().err
