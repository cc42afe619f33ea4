"""A whole release on a board with TensorRT, in this process: choice of backend, build, verify; int8 above all."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.remote import models
from tests.remote.agent.doubles import WITH_INT8, WITH_UFF, plan_of

from jetlane.remote.agent import backends, engines, recipes
from jetlane.remote.agent.commands.probe import probe
from jetlane.remote.agent.commands.verify import verify
from jetlane.remote.agent.detect.detections import Detections, output_count
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.nms import suppress
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.converter.lowering.half import to_half
from jetlane.tasks.converter.lowering.quantized import to_int8
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams
from jetlane.tasks.proof.coco_map import GroundTruth

PARAMS = PluginParams(
    InputSpec(32, 32), Nms(4, 10, 8, nms_threshold=0.6, confidence_threshold=0.3), 10, ((4, 4),), None
)


class Site:
    """One board, what TensorRT it has, and a release on it."""

    def __init__(
        self,
        era: str,
        board: Any,
        cudart: Any,
        folder: Path,
        half: bool = False,
        quantized: bool = False,
        cache: bytes = b"",
        **release: Any,
    ) -> None:
        cudart.stubCapability(7, 2)
        board.gpu, board.fast_int8 = "7.2", True
        self.board, self.store, self.notes = board, Store(str(folder / "root")), list[str]()
        self._uff = era in WITH_UFF and "uff" in release.get("backends", ["uff"])
        self._models = {"uff": models.small_model(), "onnx": models.heads_model()}
        samples = models.images(6)
        found = [self._detect(image) for image in samples]
        sizes = [(image.shape[0], image.shape[1]) for image in samples]
        truth = [GroundTruth(one.boxes, one.labels, size) for one, size in zip(found, sizes)]
        files = {"model.uff": self._models["uff"], "model.trt.onnx": self._models["onnx"]}
        if half:
            files["model.trt.fp16.onnx"] = to_half(onnx.ModelProto.FromString(self._models["onnx"])).SerializeToString()
        if quantized:
            fed = [to_input(image, asdict(PARAMS.input))[0] for image in models.images(5, seed=9)]
            whole = onnx.ModelProto.FromString(self._models["onnx"])
            files["model.trt.int8.onnx"] = to_int8(whole, fed).SerializeToString()
        if cache:
            files["calibration.cache"] = cache
        self.release = write_release(
            folder,
            "int8",
            files=files,
            samples=samples,
            expected=found,
            params=PARAMS,
            labels=["circle", "square", "triangle"],
            **{"calibration": models.images(5, seed=9), "truth": truth, **release},
        )
        shutil.copytree(folder / self.release, self.store.path("releases", self.release))
        self.manifest = self.store.manifest(self.release)

    def _detect(self, image: np.ndarray) -> Detections:
        pixels, content = to_input(image, asdict(PARAMS.input))
        outputs = self.board.compute(self._models["uff" if self._uff else "onnx"], pixels[None])
        if self._uff:
            return Detections.from_nms(outputs["NMS"][0, 0], output_count(outputs["NMS_1"])[0], content)
        return Detections.from_nms(*suppress(outputs["boxes"][0], outputs["scores"][0], asdict(PARAMS.nms)), content)

    def build(self, precision: str = "int8") -> str:
        """What ``build`` does, without its processes."""
        options = recipes.options_of({"options": {"precision": precision}})
        facts = probe(self.store)
        backend = backends.choose_backend(facts, self.manifest, options)
        recipe = recipes.recipe(self.manifest, backend, facts, options)
        model = self.store.path("releases", self.release, self.manifest["backends"][backend])
        caches = engines.caches(self.store, recipe)
        plan = plan_of(backends.module(backend), model, self.manifest, options, self.notes.append, caches=caches)
        engines.keep(self.store, recipes.key_of(recipe), plan, {"recipe": recipe})
        return recipes.key_of(recipe)

    def verify(self, precision: str = "int8") -> dict[str, Any]:
        return verify(self.store, {"release": self.release, "options": {"precision": precision}})


@pytest.fixture
def site(put_double: Any, cudart: Any, tmp_path: Path) -> Any:
    return lambda era, **release: Site(era, put_double(era), cudart, tmp_path, **release)


#: Layers that are asked to give fp32: the last convolution and all behind it; the double's UFF file has no convolution.
IN_ONNX = ["boxes", "features", "mean", "scores", "shift"]
IN_UFF = ["NMS", "NMS_1", "largest", "mean", "none", "nothing", "rows", "scalar", "shift", "whole"]


@pytest.mark.parametrize("era", WITH_INT8)
def test_int8_is_calibrated_with_the_releases_images_and_verified(era: str, site: Any) -> None:
    here = site(era)
    here.build()
    assert here.board.built["flags"][:2] == ["FP16", "INT8"]
    asked = sorted(here.board.built.get("exact", ()))
    assert asked == {"5": [], "7": []}.get(era, IN_UFF if era in WITH_UFF else IN_ONNX)
    images = [np.load(here.store.path("releases", here.release, path)) for path in here.manifest["calibration"]]
    expected = [to_input(image, here.manifest["input"])[0] for image in images]
    assert len(expected) == 5
    np.testing.assert_array_equal(here.board.calibrated, expected)
    assert [note for note in here.notes if "calibrating" in note][-1] == "calibrating with image 5 of 5"
    report = here.verify()
    assert report["agreed"] and report["missing"] == report["surplus"] == 0 and report["matched"] > 10
    assert report["precision"] == "int8" and report["backend"] == ("uff" if era in WITH_UFF else "onnx")
    assert report["mAP@0.5"] == {"expected": 1.0, "found": 1.0, "images": 6}
    assert "95% of the detections" in report["checked"] and "mAP@0.5 at most 0.02 lower" in report["checked"]
    latency = report["latency"]
    assert latency["execute_median_ms"] == 0.5 and latency["copy_p95_ms"] > 0 and latency["runs"] >= 30
    assert set(report["conditions"]) == {"power_mode", "gpu_clock", "cpu_clock", "temperatures", "memory"}
    assert here.store.verified_engine(here.release) == report["engine"]


@pytest.mark.parametrize("era", ["8.2", "8.6", "10.3", "11"])
def test_a_model_that_is_quantised_is_built_without_a_calibration(era: str, site: Any) -> None:
    here = site(era, quantized=True, backends=["onnx", "onnx_int8"])
    here.build()
    flags = {"11": []}.get(era, ["FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"])
    assert here.board.built["flags"] == flags and not here.board.calibrated
    assert not [note for note in here.notes if "calibrat" in note]
    report = here.verify()
    assert report["agreed"] and report["backend"] == "onnx_int8" and report["precision"] == "int8"
    assert report["matched"] > 10 and "95% of the detections" in report["checked"]


@pytest.mark.parametrize("era", ["5", "8.6", "10.3"])
def test_a_calibration_is_kept_until_it_is_no_longer_that_of_this_board(era: str, site: Any, tmp_path: Path) -> None:
    here = site(era)
    first = here.build()
    read = len(here.board.calibrated)
    (kept,) = (path for path in Path(here.store.path("caches")).iterdir() if path.name.startswith("calibration-"))
    assert here.build() == first and len(here.board.calibrated) == read, "no image is looked at again"
    assert any("calibration of an earlier build" in note for note in here.notes)
    kept.write_bytes(kept.read_bytes()[:-3])
    here.build()
    assert len(here.board.calibrated) == 2 * read, "a damaged cache is none"
    import tensorrt

    tensorrt.__version__ = "99"
    assert here.build() != first, "another TensorRT, another engine"
    assert len(here.board.calibrated) == 3 * read, "and another calibration"


@pytest.mark.parametrize(
    ("era", "tag"), [("5", "5006"), ("7", "7103"), ("8.2", "8201"), ("8.6", "8602"), ("10.3", "100300")]
)
def test_a_calibration_that_came_along_is_used_by_boards_of_its_tensorrt(era: str, tag: str, site: Any) -> None:
    here = site(era)
    here.build()
    (kept,) = (path for path in Path(here.store.path("caches")).iterdir() if path.name.startswith("calibration-"))
    assert f"TRT-{tag}-".encode() in kept.read_bytes()
    other = site(era, cache=kept.read_bytes())
    key = other.build()
    assert not other.board.calibrated and any("came with the release" in note for note in other.notes)
    assert key != recipes.key_of({}) and other.verify()["agreed"]
    for foreign in (kept.read_bytes().replace(tag.encode(), b"9999"), b"\0"):
        third = site(era, cache=foreign)
        third.build()
        assert len(third.board.calibrated) == 5, "another TensorRT's, or none: the board calibrates itself"


def test_other_calibration_images_or_another_way_to_prepare_them_are_another_engine(site: Any) -> None:
    here = site("8.6")
    first = here.build()
    options = recipes.options_of({"options": {"precision": "int8"}})
    files = {name: dict(entry, sha256="0" * 64) if "calibration" in name else entry
             for name, entry in here.manifest["files"].items()}  # fmt: skip
    facts = probe(here.store)
    assert recipes.key_of(recipes.recipe(here.manifest, "uff", facts, options)) == first
    changed = dict(here.manifest, files=files)
    assert recipes.key_of(recipes.recipe(changed, "uff", facts, options)) != first
    prepared = dict(here.manifest, input=dict(here.manifest["input"], order="BGR"))
    assert recipes.key_of(recipes.recipe(prepared, "uff", facts, options)) != first
    plain = recipes.options_of({"options": {"precision": "fp16"}})
    assert recipes.recipe(prepared, "uff", facts, plain) == recipes.recipe(here.manifest, "uff", facts, plain)
    assert recipes.recipe(changed, "uff", facts, plain) == recipes.recipe(here.manifest, "uff", facts, plain)


@pytest.mark.parametrize("era", ["8.2", "10.3"])
def test_a_calibration_that_fails_is_explained_by_its_cause(era: str, site: Any, cudart: Any) -> None:
    here = site(era)
    cudart.stubFail(2)
    with pytest.raises(AgentError, match="cudaMalloc failed") as caught:
        here.build()
    assert caught.value.kind == "cuda" and not here.board.aborted
    path = here.store.path("releases", here.release, here.manifest["calibration"][2])
    Path(path).chmod(0o600)
    Path(path).write_bytes(b"")
    with pytest.raises(AgentError, match="the calibration failed"):
        here.build()
    assert not [name for name in Path(here.store.path("caches")).iterdir() if "calibration-" in name.name]


def lose(count: int) -> Any:
    """The engine misses the last ``count`` of an image's detections."""

    def distort(outputs: dict[str, Any]) -> None:
        outputs["NMS_1"] = outputs["NMS_1"] - count

    return distort


def shift(by: float) -> Any:
    def distort(outputs: dict[str, Any]) -> None:
        outputs["NMS"][..., 3:] += by

    return distort


def test_int8_may_lose_one_in_twenty_but_no_accuracy(site: Any) -> None:
    """Each image has 7 detections: losing one of one image of six is 97.6%."""
    here = site("8.6")
    here.build()
    turn = [0]

    def rarely(outputs: dict[str, Any]) -> None:
        turn[0] += 1
        if turn[0] == 1:
            lose(1)(outputs)

    here.board.distort = rarely
    report = here.verify()
    assert report["agreed"] and report["missing"] == 1
    assert 0.98 <= report["mAP@0.5"]["found"] < 1.0
    here.board.distort = lose(2)
    with pytest.raises(AgentError, match="does not find on this board") as caught:
        here.verify()
    assert caught.value.kind == "disagreement" and "mAP@0.5 0." in caught.value.why
    here.build()
    here.board.distort = shift(0.3)
    with pytest.raises(AgentError, match="does not find on this board"):
        here.verify()
    assert here.store.verified_engine(here.release) is None


def test_without_known_truth_the_matches_alone_are_checked_and_that_is_said(site: Any) -> None:
    here = site("8.6", truth=())
    here.build()
    report = here.verify()
    assert report["agreed"] and report["mAP@0.5"] is None
    assert "mAP was not compared" in report["checked"]
    here.build("fp16")
    assert here.verify("fp16")["checked"] == "all detections matched with IoU >= 0.95 and scores within 0.02"
    here.board.distort = lose(1)
    with pytest.raises(AgentError, match="does not find on this board"):
        here.verify("fp16")


@pytest.mark.parametrize("era", ["8.2", "10.3", "11"])
def test_the_probe_asks_tensorrt_once_what_the_gpu_is_good_for(era: str, site: Any) -> None:
    here = site(era)
    here.board.dla_cores = 2
    facts = probe(here.store)["tensorrt"]
    fast = None if era == "11" else True
    assert (facts["fast_fp16"], facts["fast_int8"], facts["dla_cores"]) == (fast, fast, 2)
    here.board.uses.clear()
    assert probe(here.store)["tensorrt"] == facts
    assert ("Builder", "__init__", "call", 1) not in here.board.uses
    kept = json.loads(Path(here.store.path("caches", "platform.json")).read_text())
    assert kept["of"]["gpu"] == "7.2"
    Path(here.store.path("caches", "platform.json")).write_bytes(b"")
    here.board.refuse = "builder"
    unknown = probe(here.store)["tensorrt"]
    assert unknown["dla_cores"] is None and unknown["era"] == facts["era"], "a probe never fails"


def test_nothing_is_asked_of_a_nano(site: Any, cudart: Any) -> None:
    here = site("8.2")
    cudart.stubCapability(5, 3)
    here.board.uses.clear()
    facts = probe(here.store)
    assert facts["tensorrt"]["fast_int8"] is False and facts["tensorrt"]["dla_cores"] == 0
    assert ("Builder", "__init__", "call", 1) not in here.board.uses
    with pytest.raises(AgentError, match="int8 cannot be built on this board") as caught:
        backends.choose_backend(facts, here.manifest, {"precision": "int8"})
    assert "compute capability 5.3" in caught.value.why
