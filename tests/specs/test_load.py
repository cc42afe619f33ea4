"""Specs: what is accepted, and the errors about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.files import write_marked

from jetlane.specs.errors import SpecError
from jetlane.specs.load import load_spec, resolve, spec_from_data
from jetlane.specs.paths import paths
from jetlane.specs.schema import RunSpec
from jetlane.specs.support.yaml_marks import read


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return path

    return _write


def test_the_shortest_spec_is_a_name_and_a_data_set(write, tmp_path: Path) -> None:
    spec = load_spec(write("name: a\ndataset: {shapes: {}}\n"))
    assert spec.dataset is not None and spec.dataset.shapes is not None
    assert spec.dataset.shapes.train_images == 800
    assert spec.workspace.path == str(tmp_path / ".jetlane")


def test_a_compute_capability_needs_no_quotes(write) -> None:
    spec = load_spec(write("name: a\ndataset: {shapes: {}}\npreflight: {compute_capabilities: [8.6, '12.0', 7.5]}\n"))
    assert spec.preflight.compute_capabilities == ["8.6", "12.0", "7.5"] and not spec.preflight.tensorrt_rtx


@pytest.mark.parametrize("example", ["shapes.yaml", "nano-fleet/spec.yaml"])
def test_the_examples_are_good_specs(repository: Path, example: str) -> None:
    if example.startswith("nano"):
        RunSpec.model_validate(read(repository / "specs/examples" / example).data)  # its data are the reader's own
    else:
        load_spec(repository / "specs/examples" / example)


# Each row: the spec, with the mark ^ where the error is, and words that must be in the message.
WRONG = [
    ("name: a\ndataset: {shapes: {}}\ntrain:\n  ^stepz: 3\n", ["train.stepz", "did you mean steps", "batch_size"]),
    ("name: a\ndataset: {shapes: {}}\ntrain:\n  steps: ^many\n", ["'many'", "a whole number, at least 1"]),
    ("name: a\ndataset: {shapes: {}}\ntrain: {steps: ^1.5}\n", ["1.5", "whole number"]),
    ("name: a\ndataset: {shapes: {}}\ntrain: {steps: ^yes}\n", ["given true", "whole number"]),
    ("name: a\ndataset: {shapes: {}}\ntrain: {steps: ^0}\n", ["given 0", "at least 1"]),
    ("name: a\ndataset: {shapes: {}}\nbuild: {precision: ^int4}\n", ["'int4'", "'fp32' or 'fp16'"]),
    ("name: a\ndataset: {shapes: {}}\nbuild: {^dla_core: 0}\n", ["needs build.precision fp16 or int8"]),
    ("name: a\ndataset: {shapes: {}}\nbuild: {^calibration_cache: spec.yaml}\n", ["build.precision: int8"]),
    ("name: a\ndataset: {shapes: {}}\npreflight: {compute_capabilities: [^sm_86]}\n", ["'sm_86'", "such as 8.7"]),
    ("name: a\ndataset: {shapes: {}}\nfleet: ^3\n", ["a mapping with inventory, virtual"]),
    ("name: ^A b\ndataset: {shapes: {}}\n", ["'A b'", "small letters"]),
    ("^dataset: {shapes: {}}\n", ["the key name is missing"]),
    ("^name: a\n", ["needs a dataset"]),
    ("name: a\n^dataset: {train: [x]}\n", ["validation, label_map"]),
    ("name: a\ndataset: {^shapes: {}, label_map: x}\n", ["excludes"]),
    ("name: a\ndataset: {shapes: {}}\nmodel: {^saved_model: .}\n", ["saved_model", "needs"]),
    ("name: a\nmodel: {^saved_model: ., frozen_graph: a, pipeline_config: b}\n", ["excludes frozen_graph"]),
    ("name: a\ndataset: {shapes: {}}\nconvert: {^converter: nvidia}\n", ["needs convert.nvidia_python"]),
    ("name: a\ndataset: {shapes: {}}\nconvert: {^nvidia_python: python3}\n", ["give both or neither"]),
    ("name: a\ndataset: {shapes: {}}\nconvert: {converter: ^tf2onnx}\n", ["'jetlane' or 'nvidia'"]),
    ("name: a\nmodel: {^frozen_graph: spec.yaml}\n", ["needs model.pipeline_config"]),
    ("name: a\ndataset: {shapes: {}}\nmodel: {pipeline_config: spec.yaml, ^width: 300}\n", ["pipeline_config"]),
    ("name: a\ndataset: {shapes: {}}\ntrain: {steps: 5, ^warmup_steps: 5}\n", ["below train.steps"]),
    ("name: a\ndataset: {shapes: {}}\nfleet: {inventory: spec.yaml, ^virtual: 1}\n", ["excludes inventory"]),
    ("name: a\ndataset: {shapes: {}}\n^name: b\n", ["given twice", "line 1"]),
    ("name: ^no\ndataset: {shapes: {}}\n", ["given false", "put no in quotes to make it text"]),
    ("name: 2020-01-01\ndataset: {shapes: {}}\ntrain: {steps: ^0100}\n", ["'0100'", "a whole number"]),
    ("name: ^7\ndataset: {shapes: {}}\n", ["given 7", "put 7 in quotes"]),
    ("name: a\ndataset: {shapes: {}}\nworkspace: ^1.10\n", ["given 1.1", "put 1.10 in quotes"]),
    ("name: a\ndataset: {shapes: {}}\ngate: {min_map: ^.nan}\n", [".nan is no finite number"]),
    ('name: a\ndataset: {shapes: {}}\nworkspace: ^"\\e[2J"\n', ["workspace: '\\x1b[2J' holds a control"]),
    ('name: a\ndataset: {shapes: {}}\nfleet: {store: ^"s3://\\u202e"}\n', ["'s3://\\u202e' holds"]),
    ('name: a\ndataset: {shapes: {}}\nbuild: {before: ^[["\\a"]]}\n', ["'\\x07' holds a control"]),
    ("name: a\ndataset: {shapes: {}}\nworkspace: ^" + "x" * 5000, ["5,000 characters; at most 4,096"]),
    ("name: a\ndataset: {shapes: {}}\nfleet: {inventory: ^.}\n", ["is a folder, not a file"]),
    ("name: a\ndataset: {shapes: {}}\nsigning_key: ^/dev/zero\n", ["/dev/zero is a device, not a file"]),
    ("name: a\nbase_dir: ~nobody-here\ndataset: {shapes: {}}\nsigning_key: ^x\n", ["no such file"]),
    ("name: [a\ndataset^: 3\n", ["not valid YAML"]),
    ("^- a\n", ["a spec is a mapping"]),
    ("^", ["a spec is a mapping", "nothing"]),
    ("name: a\ndataset: {shapes: {}}\nfleet: {inventory: ^spec.yml}\n", ["no such file", "there is spec.yaml"]),
    ("name: a\ndataset: {train: [^no-*.rec], validation: [spec.yaml], label_map: spec.yaml}\n", ["no file matches"]),
    ("name: a\ndataset: {shapes: {}}\ntrain: {fine_tune_checkpoint: ^spec}\n", ["no such checkpoint", "spec.index"]),
    ("name: a\ndataset: {shapes: {}}\ntrain: {python: ^no-such-python}\n", ["no such program"]),
]


@pytest.mark.parametrize(("marked", "words"), WRONG)
def test_an_error_names_line_and_column_what_was_given_and_what_is_allowed(tmp_path: Path, marked, words) -> None:
    path = tmp_path / "spec.yaml"
    place = write_marked(path, marked)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    message = str(caught.value)
    assert message.startswith(f"{place}: "), message
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


def test_a_script_may_have_several_lines(write) -> None:
    spec = load_spec(write('name: a\ndataset: {shapes: {}}\nbuild:\n  before:\n  - [sh, -c, "a\\n\\tb"]\n'))
    assert spec.build.before == [["sh", "-c", "a\n\tb"]]


def test_of_many_mistakes_the_first_are_told(write) -> None:
    keys = "".join(f"x{n}: 1\n" for n in range(20_000))
    with pytest.raises(SpecError) as caught:
        load_spec(write("name: a\ndataset: {shapes: {}}\n" + keys))
    assert caught.value.why == "20000 mistakes in all" and len(str(caught.value)) < 10_000


@pytest.mark.parametrize(
    "value", ["\ud800", "\0", "\x1b[2J", "\u202e", float("nan"), float("inf"), pytest.param(10**5000, id="digits")]
)
def test_specs_from_elsewhere_are_bounded_too(value: Any, tmp_path: Path) -> None:
    """JSON parameters and Python have no YAML in front of them."""
    for data in ({"workspace": value}, {"gate": {"min_map": value}}, {"name": value}, {"train": {"steps": value}}):
        with pytest.raises(SpecError) as caught:
            spec_from_data({"name": "a", "dataset": {"shapes": {}}, **data}, tmp_path)
        assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_all_mistakes_are_told_at_once_in_the_files_order(write) -> None:
    path = write("name: a\ndataset: {shapes: {sed: 1}}\ntrain:\n  steps: x\ngate: {min_map: 2}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    lines = caught.value.what.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:2:20", f"{path}:4:10", f"{path}:5:17"]


def test_numbers_may_be_written_with_an_exponent(write) -> None:
    spec = load_spec(write("name: a\ndataset: {shapes: {}}\ntrain: {learning_rate: 1e-3}\n"))
    assert spec.train.learning_rate == 0.001


def test_keys_are_taken_as_they_are_written(tmp_path: Path) -> None:
    """YAML 1.1 reads off, no and on as truth values; a device may be called so."""
    (tmp_path / "inventory.yaml").write_text("off: 1\non: 2\nno: 3\n~: 4\n7: 5\n")
    assert read(tmp_path / "inventory.yaml").data == {"off": 1, "on": 2, "no": 3, "~": 4, 7: 5}


def test_a_missing_spec_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        load_spec(tmp_path / "nowhere.yaml")


def test_paths_start_from_the_specs_own_folder(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a.rec", "b.rec", "map.pbtxt"):
        (tmp_path / "data" / name).touch()
    monkeypatch.chdir("/")
    spec = load_spec(
        write("name: a\ndataset: {train: ['data/*.rec'], validation: [data/b.rec], label_map: data/map.pbtxt}\n")
    )
    assert spec.dataset is not None
    assert spec.dataset.train == [f"{tmp_path}/data/*.rec"]
    assert spec.dataset.label_map == f"{tmp_path}/data/map.pbtxt"
    assert {found.kind for found in paths(spec)} == {"glob", "file", "new"}


def test_json_from_elsewhere_needs_absolute_paths_or_a_base() -> None:
    data = {"name": "a", "dataset": {"shapes": {}}, "fleet": {"inventory": "inv.yaml"}, "workspace": "/w"}
    with pytest.raises(SpecError, match=r"fleet.inventory: given the relative path 'inv.yaml'"):
        resolve(RunSpec.model_validate(data))
    with pytest.raises(SpecError, match="base_dir"):
        resolve(RunSpec.model_validate({**data, "base_dir": "here"}))
    based = resolve(RunSpec.model_validate({**data, "base_dir": "/base"}))
    assert based.fleet.inventory == "/base/inv.yaml"
    plain = resolve(RunSpec.model_validate({**data, "fleet": {"inventory": "/x/inv.yaml"}}))
    assert plain.fleet.inventory == "/x/inv.yaml"


def test_a_resolved_spec_survives_json(write) -> None:
    spec = load_spec(write("name: a\ndataset: {shapes: {}}\ntrain: {python: python3}\n"))
    again = resolve(RunSpec.model_validate_json(spec.model_dump_json(exclude_none=True)))
    assert again == spec


def test_every_bundled_template_can_be_named() -> None:
    from typing import get_args

    from jetlane.specs.schema import Architecture
    from jetlane.tasks.odapi.pipeline import architectures

    assert list(get_args(Architecture)) == architectures()


def test_the_former_name_of_convert_converter_is_read(tmp_path: Path) -> None:
    data = {"name": "a", "dataset": {"shapes": {}}, "convert": {"backend": "nvidia", "nvidia_python": "python3"}}
    assert spec_from_data(data, tmp_path).convert.converter == "nvidia"
