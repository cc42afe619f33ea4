"""Random valid pipeline.configs: what cannot be converted is refused before training, all else converts after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tests.tasks.odapi.agreement import beyond_rounding, raw_outputs
from tests.tasks.odapi.builders import Builders
from tests.tasks.odapi.conftest import Data
from tests.tasks.odapi.random_configs import draw

from jetlane.remote.agent.detect.image import to_input
from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.load import spec_from_data
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.foreseen import foresee
from jetlane.tasks.odapi.client import ExportJob, OdapiChild
from jetlane.tasks.odapi.pipeline import ModelSettings, for_export, render
from jetlane.tasks.odapi.trainable import refuse_untrainable
from jetlane.tasks.odapi.training_config import pipeline_config
from jetlane.tasks.run.early_checks import check_spec

COUNT = 200
#: Of raw boxes (fractions of the image) and scores, after two steps of training.
TOLERANCE = 1e-4


_FIELDS = {"fpn": "fpn { min_level: 3 max_level: 6 }", "bifpn": "bifpn { min_level: 3 max_level: 6 }",
               "num_layers": "num_layers: 6", "spaghettinet_arch_name": "spaghettinet_arch_name: 'edgetpu_s'",
               "replace_preprocessor_with_placeholder": "replace_preprocessor_with_placeholder: true",
               "use_explicit_padding": "use_explicit_padding: true", "pad_to_multiple": "pad_to_multiple: 32",
               "override_base_feature_extractor_hyperparams": "override_base_feature_extractor_hyperparams: false",
               "conv_hyperparams.force_use_bias": "conv_hyperparams { force_use_bias: true }",
               "conv_hyperparams.sync_batch_norm": "conv_hyperparams { sync_batch_norm {} }"}  # fmt: skip
_NMS = "post_processing { batch_non_max_suppression { %s } }"
#: (extractor, what is merged over its model.ssd or taken from the config, the field that is to be named); all of them
#: are refused by the API's builders.
REFUSED = [
    *((kind, f"feature_extractor {{ {_FIELDS[name]} }}", f"feature_extractor.{name}")
      for name, kinds in {
          "fpn": ("ssd_mobilenet_v2", "ssd_mobiledet_cpu", "ssd_resnet50_v1_ppn"),
          "bifpn": ("ssd_mobilenet_v2", "ssd_mobilenet_v2_fpn"),
          "num_layers": ("ssd_mobilenet_v3_small", "ssd_mobiledet_dsp", "ssd_mobilenet_v1_fpn", "ssd_resnet50_v1_ppn"),
          "spaghettinet_arch_name": ("ssd_mobilenet_v1", "ssd_pnasnet"),
          "replace_preprocessor_with_placeholder": ("ssd_mobilenet_v1",),
          "use_explicit_padding": ("ssd_mobiledet_gpu", "ssd_resnet101_v1_fpn"),
          "pad_to_multiple": ("embedded_ssd_mobilenet_v1",),
          "override_base_feature_extractor_hyperparams": ("ssd_inception_v2", "ssd_inception_v3"),
          "conv_hyperparams.force_use_bias": ("ssd_mobilenet_v1",),
          "conv_hyperparams.sync_batch_norm": ("ssd_mobilenet_v1",),
      }.items() for kind in kinds),
    *(("ssd_mobilenet_v2", changes, field) for changes, field in (
        ("box_predictor { convolutional_box_predictor { conv_hyperparams { force_use_bias: true } } }",
         "box_predictor.convolutional_box_predictor.conv_hyperparams.force_use_bias"),
        (_NMS % "max_detections_per_class: 101", "post_processing.batch_non_max_suppression.max_detections_per_class"),
        ("loss { hard_example_miner {} classification_loss { weighted_sigmoid_focal {} } }", "loss.hard_example_miner"),
        ("loss { random_example_sampler { positive_sample_fraction: 0 } }",
         "loss.random_example_sampler.positive_sample_fraction"),
        ("no model.ssd.box_predictor", "box_predictor"),
        ("no model.ssd.matcher", "matcher"),
        ("no model.ssd.similarity_calculator", "similarity_calculator"),
        ("no model.ssd.loss.classification_loss", "loss.classification_loss"),
        ("no model.ssd.loss.localization_loss", "loss.localization_loss"),
    )),
]  # fmt: skip


@pytest.fixture(scope="module")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builders]:
    builders = Builders(tmp_path_factory.mktemp("builders"))
    yield builders
    builders.close()


def prepared(folder: Path, number: int) -> str:
    """The config that training would be given; JetlaneError where ``spec check`` refuses it."""
    (folder / "own.config").write_text(draw(number))
    spec = spec_from_data(
        {"name": "random", "dataset": {"shapes": {}}, "model": {"pipeline_config": "own.config"}}, folder
    )
    check_spec(spec)
    return pipeline_config(spec, 3)


def test_every_config_is_taken_or_refused_by_its_field(tmp_path: Path) -> None:
    refused = 0
    for number in range(COUNT):
        try:
            prepared(tmp_path, number)
        except JetlaneError as error:
            refused += 1
            assert "own.config:" in str(error) and error.why, error
    assert COUNT / 10 < refused < COUNT * 2 / 3


@pytest.mark.tensorflow
def test_the_apis_builders_take_what_is_not_refused(builders: Builders, tmp_path: Path) -> None:
    for number in range(COUNT):
        try:
            (tmp_path / "train.config").write_text(prepared(tmp_path, number))
        except JetlaneError:
            continue
        assert not builders.ask(config=tmp_path / "train.config"), number


@pytest.mark.tensorflow
def test_what_the_apis_builders_refuse_is_refused_by_its_field(builders: Builders, tmp_path: Path) -> None:
    base = config.parse(render(ModelSettings(width=160, height=160, depth_multiplier=1, batch_size=2, steps=2), 3))
    unseen = []
    for extractor, changes, field in REFUSED:
        message = type(base.message)()
        message.CopyFrom(base.message)
        message.model.ssd.feature_extractor.type = extractor
        if changes.startswith("no "):
            owner = message
            *path, last = changes[3:].split(".")
            for name in path:
                owner = getattr(owner, name)
            owner.ClearField(last)
        else:
            text_format.Merge(changes, message.model.ssd)
        (tmp_path / "own.config").write_text(text_format.MessageToString(message))
        assert builders.ask(config=tmp_path / "own.config"), (extractor, changes)
        try:
            refuse_untrainable(config.read(tmp_path / "own.config"), sys.executable)
        except SpecError as error:
            if f"{field}: " in error.what and "own.config:" in str(error):
                continue
        unseen.append((extractor, changes))
    assert not unseen


#: Of Keras models: (template, changes of model.ssd, field).
KERAS_REFUSED = [
    ("ssd_mobilenet_v2_keras", "feature_extractor { fpn { min_level: 3 max_level: 6 } }", "feature_extractor.fpn"),
    ("ssd_mobilenet_v2_keras", "feature_extractor { bifpn { min_level: 3 } }", "feature_extractor.bifpn"),
    ("ssd_mobilenet_v2_fpnlite", "feature_extractor { num_layers: 6 }", "feature_extractor.num_layers"),
    ("ssd_mobilenet_v2_fpnlite", "feature_extractor { fpn { min_level: 6 } }", "feature_extractor.fpn.min_level"),
    ("ssd_mobilenet_v1_fpn", "feature_extractor { fpn { min_level: 1 } }", "feature_extractor.fpn.min_level"),
    ("ssd_mobilenet_v1_fpn", "image_resizer { fixed_shape_resizer { height: 150 } }", "image_resizer"),
    ("ssd_resnet50_v1_fpn", "feature_extractor { fpn { min_level: 4 } }", "feature_extractor.fpn"),
    ("ssd_resnet50_v1_fpn", "image_resizer { fixed_shape_resizer { height: 128 width: 128 } }", "image_resizer"),
    (
        "ssd_mobilenet_v2_fpnlite",
        "box_predictor { weight_shared_convolutional_box_predictor { kernel_size: 1 } }",
        "box_predictor.weight_shared_convolutional_box_predictor.kernel_size",
    ),
]
#: What Keras models take, and others do not.
KERAS_TAKEN = [
    ("ssd_mobilenet_v2_keras", "feature_extractor { num_layers: 6 conv_hyperparams { force_use_bias: true } }"),
    ("ssd_mobilenet_v2_fpnlite", "image_resizer { fixed_shape_resizer { height: 150 } } "
                                 "feature_extractor { use_explicit_padding: true }"),
    ("ssd_mobilenet_v1_fpn", "image_resizer { fixed_shape_resizer { height: 150 } } "
                             "feature_extractor { pad_to_multiple: 32 }"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.tensorflow
def test_what_the_builders_of_keras_models_refuse_is_refused_by_its_field(tmp_path: Path) -> None:
    with closing(Builders(tmp_path, keras=True)) as builders:
        for template, changes, field in (*KERAS_REFUSED, *((*taken, "") for taken in KERAS_TAKEN)):
            settings = ModelSettings(template, 160, 160, 0.25, batch_size=2, steps=2)
            message = config.parse(render(settings, 3)).message
            text_format.Merge(changes, message.model.ssd)
            (tmp_path / "own.config").write_text(text_format.MessageToString(message))
            said = builders.ask(config=tmp_path / "own.config")
            assert bool(said) == bool(field), (template, changes, said)
            try:
                refuse_untrainable(config.read(tmp_path / "own.config"), sys.executable)
                refused = ""
            except SpecError as error:
                refused = error.what
            assert refused.startswith(f"{field}: " if field else "") and bool(refused) == bool(field), refused


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("number", range(COUNT))
def test_what_is_not_refused_trains_exports_and_converts(builders: Builders, tmp_path: Path, number: int) -> None:
    try:
        text = prepared(tmp_path, number)
    except JetlaneError:
        return
    (tmp_path / "train.config").write_text(text)
    (tmp_path / "export.config").write_text(for_export(text))
    out = tmp_path / "export"
    assert not builders.ask(config=tmp_path / "train.config", export_config=tmp_path / "export.config", out=out)
    made = convert_model(out / "frozen_inference_graph.pb", tmp_path / "export.config", tmp_path / "model")
    assert made["unproven"] == []
    expected = foresee(config.parse(text), PluginParams.from_json(made["plugins"]))
    assert expected and {one.pattern for one in expected} <= {one["pattern"] for one in made["evidence"]}
    with np.load(out / "reference.npz") as reference:
        images, boxes, scores = (reference[name] for name in ("images", "boxes", "scores"))
    found = raw_outputs(tmp_path / "model" / "model.trt.onnx", list(images), made["plugins"]["input"])
    for image, (own_boxes, own_scores), corners, raw in zip(images, found, boxes, scores):
        pixels, _ = to_input(image, made["plugins"]["input"])
        sides = (own_boxes, own_scores[:, -raw.shape[1] :]), (corners[:, [1, 0, 3, 2]], raw)
        said = beyond_rounding(*sides, tmp_path / "model" / "model.trt.onnx", pixels, TOLERANCE)
        assert not said, said


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("number", [0, 10, 13, 14])
def test_they_train_and_export_as_a_run_does_it(child: OdapiChild, data: Data, tmp_path: Path, number: int) -> None:
    text = prepared(tmp_path, number)
    job = data.job(tmp_path / "job", checkpoint_every=2)
    job.pipeline_config.write_text(text)
    facts = child.train(job)
    (tmp_path / "export.config").write_text(for_export(text))
    child.export(ExportJob(tmp_path / "export.config", job.model_dir / facts["checkpoint"], tmp_path / "export"))
    graph = tmp_path / "export" / "frozen_inference_graph.pb"
    assert convert_model(graph, tmp_path / "export.config", tmp_path / "model")["unproven"] == []
