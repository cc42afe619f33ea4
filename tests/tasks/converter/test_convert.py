"""convert_model and derive_plugins as the CLI and the flow call them."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys

import pytest

from jetlane.specs.errors import ConversionError, DerivationError, GraphError, JetlaneError, SpecError
from jetlane.tasks.converter.convert import convert_model, derive_plugins
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.derive import derive
from jetlane.tasks.converter.ssd.params import PluginParams

NUMBERS = ["0", "-1", "1", "2", "7", "33", "0.5", "1e-30", "1e30", "nan", "inf", "-inf", "70000", "2147483647"]
CASE = "trained_F_t215_v2_160_c3"


@pytest.fixture
def model(shared_data, tmp_path):
    """A copy of a trained model's folder, to be spoilt."""
    folder = tmp_path / "model"
    shutil.copytree(shared_data / "graphs" / CASE, folder)
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def test_converts_whole_and_says_what_it_did(model, tmp_path):
    facts = convert_model(model / "frozen_inference_graph.pb", model / "pipeline.config", tmp_path / "new" / "out")
    written = {path.name: path.stat().st_size for path in (tmp_path / "new" / "out").iterdir()}
    assert written == facts["files"]
    stored = json.loads((tmp_path / "new" / "out" / "plugins.json").read_text())
    params = derive_plugins(model / "pipeline.config", model / "frozen_inference_graph.pb")
    assert PluginParams.from_json(stored) == PluginParams.from_json(facts["plugins"]) == params
    assert facts["unproven"] == [] and facts["rewrites"] and facts["evidence"]
    assert json.loads(json.dumps(facts)) == facts


def test_equal_inputs_give_equal_bytes(model, tmp_path):
    for name in ("one", "two"):
        convert_model(model / "frozen_inference_graph.pb", model / "pipeline.config", tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_needs_neither_tensorflow_nor_prefect(model, tmp_path):
    program = (
        "import sys; from pathlib import Path; from jetlane.tasks.converter.convert import convert_model\n"
        "convert_model(*map(Path, sys.argv[1:4]))\n"
        "heavy = {'tensorflow', 'prefect', 'pydantic', 'paramiko', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    arguments = [model / "frozen_inference_graph.pb", model / "pipeline.config", tmp_path / "out"]
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)


@pytest.mark.parametrize(
    ("file", "content", "error", "says"),
    [
        ("frozen_inference_graph.pb", None, GraphError, "frozen_inference_graph.pb"),
        ("frozen_inference_graph.pb", b"", GraphError, "empty"),
        ("frozen_inference_graph.pb", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", GraphError, "LFS"),
        ("frozen_inference_graph.pb", 100_000, GraphError, "frozen_inference_graph.pb"),
        ("pipeline.config", None, SpecError, "cannot read"),
        ("pipeline.config", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", SpecError, "LFS"),
        ("pipeline.config", b"model { ssd { num_classes: 3 } }", DerivationError, "pipeline.config:1"),
    ],
)
def test_bad_files_are_named(model, tmp_path, file, content, error, says):
    path = model / file
    if content is None:
        path.unlink()
    elif isinstance(content, int):
        path.write_bytes(path.read_bytes()[:-content])
    else:
        path.write_bytes(content)
    with pytest.raises(error) as raised:
        convert_model(model / "frozen_inference_graph.pb", model / "pipeline.config", tmp_path / "out")
    assert says in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_config_of_another_model_leaves_nothing_behind(model, tmp_path):
    config = model / "pipeline.config"
    config.write_text(config.read_text().replace("num_classes: 3", "num_classes: 4"))
    with pytest.raises(DerivationError, match="says 4 classes, the graph has 3"):
        convert_model(model / "frozen_inference_graph.pb", config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Without the graph nothing contradicts it.
    assert derive_plugins(config).nms.num_classes == 5


def test_a_folder_that_cannot_be_written(model, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(ConversionError, match="cannot write"):
        convert_model(model / "frozen_inference_graph.pb", model / "pipeline.config", tmp_path / "out")


@pytest.mark.parametrize("case", [CASE, "C_t15_v1fpn_160_c3", "C_t15_v2_keeppad_224_c3", "E_t15_v1_strides_300_c3"])
def test_spoilt_configs_end_in_an_explained_error(shared_data, case):
    """A pipeline.config with numbers or single characters changed at random: a result or a JetlaneError, no other."""
    text = (shared_data / "graphs" / case / "pipeline.config").read_text()
    numbers = [match.span() for match in re.finditer(r"(?<=: )[-\d.e]+", text)]
    dice = random.Random(5)
    outcomes = {"derived": 0, "refused": 0}
    for draw in range(250):
        spoilt = text
        if draw % 3:
            for first, last in sorted(dice.sample(numbers, dice.randint(1, 3)), reverse=True):
                spoilt = spoilt[:first] + dice.choice(NUMBERS) + spoilt[last:]
        else:
            place = dice.randrange(len(text))
            spoilt = text[:place] + dice.choice(["", "9", "-", "{", "}", ":", "\0", '"']) + text[place + 1 :]
        try:
            derive(config.parse(spoilt))
            outcomes["derived"] += 1
        except JetlaneError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20
