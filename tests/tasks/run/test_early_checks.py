"""What spec and config tell is known before anything is run, with the user's own file, line and column."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from jetlane.flows.cli.commands.spec import spec as command
from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.load import load_spec
from jetlane.specs.schema import RunSpec
from jetlane.tasks.converter.uff import foreseen
from jetlane.tasks.odapi import trainable
from jetlane.tasks.odapi.trainable import EXTRACTORS, KERAS_EXTRACTORS
from jetlane.tasks.run.early_checks import check_spec

TYPE = 'type: "ssd_mobilenet_v2"'
LABELS = 'item { id: 1 name: "a" }\nitem { id: 2 name: "b" }\nitem { id: 3 name: "c" }\n'


@pytest.fixture
def own(shared_data: Path) -> str:
    """A pipeline.config that converts."""
    return (shared_data / "graphs" / "trained_F_t215_v2_160_c3" / "pipeline.config").read_text()


def write(folder: Path, own: str, trains: bool, **more: Any) -> Path:
    (folder / "own.config").write_text(own)
    (folder / "labels.pbtxt").write_text(more.pop("labels", LABELS))
    (folder / "graph.pb").touch()
    (folder / "a.record").touch()
    model = {"pipeline_config": "own.config", **({} if trains else {"frozen_graph": "graph.pb"})}
    data = {"label_map": "labels.pbtxt", **({"train": ["a.record"], "validation": ["a.record"]} if trains else {})}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({"name": "early", "model": model, "dataset": data, "train": {"steps": 6}, **more}))
    return path


#: A setting that nothing can carry, in the place of one that can; the field; where it stands: (line's text, column).
SETTINGS = [
    ("iou_threshold: 0.6", "iou_threshold: 0.6 use_class_agnostic_nms: true", "use_class_agnostic_nms"),
    ("iou_threshold: 0.6", "iou_threshold: 0.6 soft_nms_sigma: 0.5", "soft_nms_sigma"),
    ("iou_threshold: 0.6", "iou_threshold: 1.6", "iou_threshold"),
    ("max_total_detections: 100", "max_total_detections: 0", "max_total_detections"),
    ("y_scale: 10 ", "y_scale: 0 ", "box_coder"),
    ("fixed_shape_resizer", "identity_resizer {} #", "image_resizer"),
    ("fixed_shape_resizer {", "fixed_shape_resizer { resize_method: AREA", "resize_method"),
    ("fixed_shape_resizer {", "fixed_shape_resizer { convert_to_grayscale: true", "convert_to_grayscale"),
    ("num_layers: 6", "num_layers: 1", "num_layers"),
    ("kernel_size: 1", "kernel_size: 1 apply_sigmoid_to_scores: true", "apply_sigmoid_to_scores"),
]


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize(("old", "new", "field"), SETTINGS)
def test_what_no_board_can_do_is_refused_by_file_line_and_column(
    tmp_path: Path, own: str, trains: bool, old: str, new: str, field: str
) -> None:
    if old == "fixed_shape_resizer":
        changed = re.sub(r"fixed_shape_resizer\s*{[^}]*}", "identity_resizer {}", own)
    else:
        changed = own.replace(old, new, 1)
    assert changed != own
    path = write(tmp_path, changed, trains)
    with pytest.raises(JetlaneError) as caught:
        check_spec(load_spec(path))
    place = re.search(r"own\.config:(\d+):(\d+)", str(caught.value))
    assert place is not None and field in str(caught.value), caught.value
    line, column = int(place[1]), int(place[2])
    assert 1 <= column <= len(changed.splitlines()[line - 1]) and "Traceback" not in str(caught.value)


def test_the_command_says_it_and_nothing_is_written(tmp_path: Path, own: str) -> None:
    path = write(tmp_path, own.replace("iou_threshold: 0.6", "iou_threshold: 0.6 soft_nms_sigma: 1"), True)
    before = sorted(tmp_path.iterdir())
    done = CliRunner().invoke(command, ["check", str(path)])
    assert isinstance(done.exception, JetlaneError) and "soft_nms_sigma" in str(done.exception)
    assert sorted(tmp_path.iterdir()) == before


def test_a_sound_spec_passes_without_notes(tmp_path: Path, own: str) -> None:
    assert check_spec(load_spec(write(tmp_path, own, True))) == []
    assert check_spec(load_spec(write(tmp_path, own, False))) == []


def test_the_number_of_classes_of_ones_own_config_does_not_matter_for_training(tmp_path: Path, own: str) -> None:
    assert check_spec(load_spec(write(tmp_path, own.replace("num_classes: 3", "num_classes: 90"), True))) == []
    with pytest.raises(JetlaneError, match=r"the label map .* does not fit .*own.config"):
        check_spec(load_spec(write(tmp_path, own.replace("num_classes: 3", "num_classes: 90"), False)))


def test_static_shapes_are_noted(tmp_path: Path, own: str) -> None:
    path = write(tmp_path, own.replace("iou_threshold: 0.6", "iou_threshold: 0.6 use_static_shapes: true"), True)
    (note,) = check_spec(load_spec(path))
    assert "use_static_shapes is switched off for the export" in note
    assert note in CliRunner().invoke(command, ["check", str(path)], catch_exceptions=False).stderr


def test_padding_with_a_colour_is_noted(tmp_path: Path, own: str) -> None:
    """The Object Detection API's SSD normalises before it pads: a colour of 0 to 255 outshines every picture."""

    def notes(value: str) -> list[str]:
        size = "min_dimension: 160 max_dimension: 160 pad_to_max_dimension: true"
        padded = f"keep_aspect_ratio_resizer {{ {size} per_channel_pad_value: [{value}, 0, 0] }}"
        return check_spec(load_spec(write(tmp_path, re.sub(r"fixed_shape_resizer\s*{[^}]*}", padded, own), True)))

    assert notes("-1") == []
    (note,) = notes("123.68")
    assert "own.config: per_channel_pad_value (123.68, 0, 0) is filled in after normalisation" in note


@pytest.mark.parametrize(
    ("old", "new", "says", "remedy"),
    [
        (
            TYPE,
            'type: "ssd_mobilenet_v2_kers"',
            "has no 'ssd_mobilenet_v2_kers'",
            "did you mean ssd_mobilenet_v2_keras?",
        ),
        (
            TYPE,
            'type: "ssd_resnet50_v1_fpn_keras" fpn { min_level: 4 max_level: 7 }',
            "it makes the levels 3 to 7 alone",
            "min_level: 3",
        ),
        (TYPE, 'type: "ssd_mobilnet_v2"', "has no 'ssd_mobilnet_v2'", "did you mean ssd_mobilenet_v2?"),
        ("train_config {", "graph_rewriter { quantization {} } train_config {", "quantisation-aware", "TensorFlow 1"),
        (
            TYPE,
            'type: "ssd_mobiledet_cpu" use_explicit_padding: true',
            "ssd_mobiledet_cpu cannot be trained",
            "to false",
        ),
        ("kernel_size: 1", "kernel_size: 1 use_depthwise: true", "no kernel of 1 x 1", "set it to 3"),
        (
            TYPE,
            'type: "ssd_mobilenet_edgetpu" use_explicit_padding: true',
            "ssd_mobilenet_edgetpu cannot be trained",
            "to false",
        ),
        (TYPE, 'type: "ssd_mobilenet_v3_small" num_layers: 6', "its number of layers is fixed", "remove it"),
        (TYPE, 'type: "embedded_ssd_mobilenet_v1"', "256 x 256 pixels alone", "height: 256"),
        (TYPE, 'type: "ssd_mobilenet_v2_mnasfpn"', "levels 3 to 6 alone", "min_level: 3"),
        (
            "max_detections_per_class: 100",
            "max_detections_per_class: 101",
            "max_detections_per_class: ssd_mobilenet_v2 cannot be trained so",
            "100 or less",
        ),
        ("num_steps: 600", "", "the number of steps is not given", "set train.steps"),
    ],
)
def test_what_cannot_be_trained_here_is_refused_where_it_would_be(
    tmp_path: Path, own: str, old: str, new: str, says: str, remedy: str
) -> None:
    assert old in own, own
    path = write(tmp_path, own.replace(old, new), True, train={})
    with pytest.raises(JetlaneError) as caught:
        check_spec(load_spec(path))
    assert says in str(caught.value) and remedy in caught.value.remedy and "own.config:" in str(caught.value)


def test_a_resnet_needs_its_least_size(tmp_path: Path, own: str) -> None:
    small = own.replace("160", "128").replace(TYPE, 'type: "ssd_resnet50_v1_fpn"')
    with pytest.raises(JetlaneError, match="it takes 129 pixels or more"):
        check_spec(load_spec(write(tmp_path, small, True)))


def test_the_extractors_are_the_apis() -> None:
    found = importlib.util.find_spec("object_detection")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the Object Detection API is not installed")
    source = (Path(found.submodule_search_locations[0]) / "builders" / "model_builder.py").read_text()
    for kind, known in (("", EXTRACTORS), ("KERAS_", KERAS_EXTRACTORS)):
        table = source.partition(f"SSD_{kind}FEATURE_EXTRACTOR_CLASS_MAP = {{")[2].partition("}")[0]
        assert sorted(re.findall(r"'([\w-]+)':", table)) == sorted(known)


@pytest.mark.parametrize("version", ["1.15.5", "2.15.1"])
def test_keras_models_need_tensorflow_2(
    tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(trainable, "versions", lambda names, python: {"tensorflow": version})
    path = write(
        tmp_path, own.replace(TYPE, 'type: "ssd_mobilenet_v2_keras"'), True, train={"python": "/usr/bin/python3"}
    )
    if version.startswith("2."):
        assert check_spec(load_spec(path)) == []
    else:
        with pytest.raises(JetlaneError, match=r"own\.config:.* is a Keras model, which TensorFlow 1\.15\.5"):
            check_spec(load_spec(path))


@pytest.mark.parametrize(("side", "taken"), [(None, True), (160, True), (150, False)])
@pytest.mark.parametrize("architecture", ["ssd_mobilenet_v2_fpnlite", "ssd_resnet50_v1_fpn", "ssd_mobilenet_v1_fpn"])
def test_a_pyramids_maps_halve_without_a_rest(tmp_path: Path, architecture: str, side: int | None, taken: bool) -> None:
    size = f", width: {side}, height: {side}" if side else ""
    path = tmp_path / "spec.yaml"
    path.write_text(f"name: a\ndataset: {{shapes: {{}}}}\nmodel: {{architecture: {architecture}{size}}}\n")
    if taken:
        assert check_spec(load_spec(path)) == []
    else:
        with pytest.raises(JetlaneError, match="cannot be halved 2 times without a rest") as caught:
            check_spec(load_spec(path))
        assert "multiples of 32" in caught.value.remedy


def test_a_template_that_cannot_be_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: a\ndataset: {shapes: {}}\nmodel: {architecture: ssd_mobilenet_v2, width: 9000, height: 300}\n"
    )
    with pytest.raises(JetlaneError, match="9000"):
        check_spec(load_spec(path))


@pytest.mark.parametrize(
    ("labels", "says"),
    [("item { id: 1 ", "cannot be read"), ("", "has no item"), ('item { id: 4 name: "d" }', "does not fit")],
)
def test_a_bad_label_map(tmp_path: Path, own: str, labels: str, says: str) -> None:
    with pytest.raises(JetlaneError, match=says):
        check_spec(load_spec(write(tmp_path, own, False, labels=labels)))


def test_a_bad_key_and_a_bad_inventory(tmp_path: Path, own: str) -> None:
    (tmp_path / "key").write_text("no key")
    with pytest.raises(JetlaneError, match="key"):
        check_spec(load_spec(write(tmp_path, own, True, signing_key="key")))
    (tmp_path / "boards.yaml").write_text("devices: {a: {user: x}}\n")
    with pytest.raises(JetlaneError, match="the device a has no host"):
        check_spec(load_spec(write(tmp_path, own, True, fleet={"inventory": "boards.yaml"})))


def test_a_pattern_that_no_parser_is_known_to_read_is_noted_where_there_are_boards(
    tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreseen, "_table", lambda: {"ssd_mobilenet_v2": ["Conv, same padding", "Pool of a kind"]})
    (tmp_path / "boards.yaml").write_text("devices: {a: {host: a.example}}\n")
    fleet = {"inventory": "boards.yaml"}
    path = write(tmp_path, own, True, fleet=fleet)
    (note,) = check_spec(load_spec(path))
    assert (
        "UFF" in note and "Pool of a kind, which ssd_mobilenet_v2 is converted to" in note and "allow_unproven" in note
    )
    assert note in CliRunner().invoke(command, ["check", str(path)], catch_exceptions=False).stderr
    for more in ({"convert": {"allow_unproven": True}, "fleet": fleet}, {}):
        assert check_spec(load_spec(write(tmp_path, own, True, **more))) == []
    assert check_spec(load_spec(write(tmp_path, own, False, fleet=fleet))) == []  # it is converted at once


# Each row: keys of the train section that a Keras model's loop does not know, words of the refusal.
UNKNOWN_TO_KERAS = [
    ({"prune": 0.4}, "train.prune: Keras models are not pruned"),
    ({"freeze": "backbone", "start_from": "live"}, "train.freeze: backbone is not known of Keras models"),
]


@pytest.mark.parametrize(("train", "words"), UNKNOWN_TO_KERAS)
def test_what_the_loop_of_keras_models_does_not_do_is_refused_before_training(train, words) -> None:
    spec = {"name": "x", "dataset": {"shapes": {}}, "model": {"architecture": "ssd_mobilenet_v2_fpnlite"}}
    with pytest.raises(SpecError, match=re.escape(words)):
        check_spec(RunSpec(**spec, train=train))
    spec["model"] = {"architecture": "ssd_mobilenet_v2"}
    check_spec(RunSpec(**spec, train=train))
