"""What an SSD needs of TensorRT's plugins and of its input: the derived numbers, as data.

These classes are the contract between derivation (``ssd``), the graph (``graph``), the UFF writer, the ONNX lowering,
the release manifest and the agent. ``to_json``/``from_json`` are the only serialisation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Optional

#: Fields of NMS_TRT's ``codeType``.
CORNER, CENTER_SIZE, CORNER_SIZE, TF_CENTER = 0, 1, 2, 3


@dataclass(frozen=True)
class Resize:
    """How an image of any size becomes the network's frame (TF1's legacy bilinear resize: no half-pixel centres).

    Attributes:
        kind: ``fixed_shape`` (stretched to height x width) or ``keep_aspect_ratio``.
        min_dimension, max_dimension: Pixels; of ``keep_aspect_ratio`` alone.
        pad_to_max: Pad right and bottom to max_dimension squared.
        pad_value: Per-channel value of the margin, RGB, in the scale of 0..255 pixels.
        half_pixel_centers: The resize of TF2-native exports.
    """

    kind: str = "fixed_shape"
    min_dimension: Optional[int] = None
    max_dimension: Optional[int] = None
    pad_to_max: bool = False
    pad_value: tuple[float, float, float] = (0.0, 0.0, 0.0)
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class Normalization:
    """``y = x * scale + offset`` per RGB channel, x in 0..255."""

    scale: tuple[float, float, float] = (2 / 255, 2 / 255, 2 / 255)
    offset: tuple[float, float, float] = (-1.0, -1.0, -1.0)


@dataclass(frozen=True)
class InputSpec:
    """The network's input: float32 [1, 3, height, width], RGB, named ``Input``.

    Attributes:
        order: ``resize_normalize`` (OD API to 2019: the margin of a padded image is normalised too) or
            ``normalize_resize`` (2020 on: the margin is pad_value itself, unnormalised, after normalisation).
    """

    height: int
    width: int
    resize: Resize = Resize()
    normalize: Normalization = Normalization()
    order: str = "normalize_resize"
    name: str = "Input"


@dataclass(frozen=True)
class GridAnchor:
    """Parameters of GridAnchor_TRT (or GridAnchorRect_TRT where a feature map is not square).

    Attributes:
        feature_map_shapes: (height, width) of each layer, largest first.
        variance: In the plugin's order x, y, w, h.
    """

    num_layers: int
    min_size: float
    max_size: float
    aspect_ratios: tuple[float, ...]
    feature_map_shapes: tuple[tuple[int, int], ...]
    variance: tuple[float, float, float, float]

    @property
    def square(self) -> bool:
        return all(height == width for height, width in self.feature_map_shapes)


@dataclass(frozen=True)
class Nms:
    """Parameters of NMS_TRT.

    Attributes:
        num_classes: Columns of the class tensor, background included.
        input_order: Positions of {loc, conf, prior} in the NMS node's inputs.
        confidence_threshold: For deployment.
        evaluation_threshold: For mAP; not a field of the plugin.
        clip_before: Boxes are clipped to the image before suppression, as the model's own graph does. Not a field of
            the plugin, which always clips after it; where suppression is our own, it follows the graph.
    """

    num_classes: int
    top_k: int
    keep_top_k: int
    nms_threshold: float
    confidence_threshold: float = 0.3
    evaluation_threshold: float = 1e-8
    conf_sigmoid: bool = True
    background_label_id: int = 0
    share_location: bool = True
    variance_encoded_in_target: bool = False
    is_normalized: bool = True
    code_type: int = TF_CENTER
    input_order: tuple[int, int, int] = (0, 2, 1)
    clip_before: bool = False


@dataclass(frozen=True)
class FlattenConcat:
    """Parameters of FlattenConcat_TRT; only axis 1 without ignoreBatch is sound."""

    axis: int = 1
    ignore_batch: bool = False


@dataclass(frozen=True)
class PluginParams:
    """Everything derived for one model.

    Attributes:
        variances: Variances of the box codes, in the plugin's order x, y, w, h.
        grid_anchor: None where the anchors travel as a constant (the constant-prior route).
        score_converter: ``SIGMOID`` (in NMS_TRT), ``SOFTMAX`` (a graph op before it) or ``IDENTITY``.
        num_priors: Anchors in all.
        engine_normalize: What the network itself does first; None where its input is normalised already.
        notes: What a person should know: which route, what was raised or limited, and why.
    """

    input: InputSpec
    nms: Nms
    num_priors: int
    feature_map_shapes: tuple[tuple[int, int], ...]
    grid_anchor: Optional[GridAnchor]
    variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    score_converter: str = "SIGMOID"
    flatten_concat: FlattenConcat = FlattenConcat()
    engine_normalize: Optional[Normalization] = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: lists, not tuples."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PluginParams:
        given = dict(data)
        image = dict(given["input"])
        image["resize"] = _plain(Resize, image["resize"])
        image["normalize"] = _plain(Normalization, image["normalize"])
        given["input"] = _plain(InputSpec, image)
        given["nms"] = _plain(Nms, given["nms"])
        given["flatten_concat"] = _plain(FlattenConcat, given["flatten_concat"])
        if given["grid_anchor"] is not None:
            given["grid_anchor"] = _plain(GridAnchor, given["grid_anchor"])
        if given.get("engine_normalize") is not None:
            given["engine_normalize"] = _plain(Normalization, given["engine_normalize"])
        made: PluginParams = _plain(cls, given)
        return made

    def with_nms(self, **changes: Any) -> PluginParams:
        return replace(self, nms=replace(self.nms, **changes))


def _plain(kind: Any, data: Mapping[str, Any]) -> Any:
    """Build a data class from JSON: lists become tuples."""

    def frozen(value: Any) -> Any:
        return tuple(frozen(item) for item in value) if isinstance(value, list) else value

    names = {field.name for field in fields(kind)}
    return kind(**{name: frozen(value) for name, value in data.items() if name in names})
