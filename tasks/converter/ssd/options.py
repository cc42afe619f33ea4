"""What a person may choose about a conversion, and what each choice does to the derived parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional, Union

import numpy as np

from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.ssd.derive import CONSTANT_NOTE, MOST_TOP_K
from jetlane.tasks.converter.ssd.params import InputSpec, Normalization, PluginParams
from jetlane.tasks.converter.ssd.plugins import grid_anchor_boxes

ANCHORS = ("auto", "plugin", "constant")
NORMALIZE = ("host", "engine")

#: Of ``ConvertOptions.top_k``.
AUTO = "auto"
#: How many candidates an object is reckoned with; more would be slow on a small board, and find less and less.
_CANDIDATES = 4

IDENTITY = Normalization((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class ConvertOptions:
    """Choices of the ``convert`` section of a spec.

    Attributes:
        anchors: ``auto`` takes GridAnchor_TRT where its formula is within 1e-6 of the model's anchors and carries them
            as a constant elsewhere; ``plugin`` refuses where it is not; ``constant`` always carries them.
        normalize: ``host``: the program that feeds the engine normalises. ``engine``: it is fed pixels of 0..255.
        top_k: Candidates per class that enter suppression, where the derived number is too small; ``auto`` takes
            ``larger_top_k``.
    """

    anchors: str = "auto"
    normalize: str = "host"
    top_k: Union[int, str, None] = None

    def __post_init__(self) -> None:
        for name, value, allowed in (("anchors", self.anchors, ANCHORS), ("normalize", self.normalize, NORMALIZE)):
            if value not in allowed:
                raise DerivationError(f"{name} is {value!r}", "", f"use {', '.join(allowed)}")
        if isinstance(self.top_k, str) and self.top_k != AUTO:
            raise DerivationError(f"topK is {self.top_k!r}", "", f"give a number, or {AUTO}")


def apply_options(
    options: ConvertOptions, params: PluginParams, anchors: Optional[np.ndarray[Any, Any]] = None
) -> PluginParams:
    """The parameters a conversion with these options has.

    Args:
        params: As derived (and held against the graph, where there is one).
        anchors: The model's own, float32 [N, 4] xmin, ymin, xmax, ymax; only for saying how close the plugin is.

    Raises:
        DerivationError: ``anchors`` is ``plugin`` and GridAnchor_TRT does not make the model's anchors.
    """
    params = _anchors(options.anchors, params, anchors)
    if options.top_k is not None:
        params = _top_k(options.top_k, params)
    return _normalize_in_engine(params) if options.normalize == "engine" else params


def _anchors(choice: str, params: PluginParams, anchors: Optional[np.ndarray[Any, Any]]) -> PluginParams:
    if params.grid_anchor is None:
        if choice == "plugin":
            reasons = [note[len(CONSTANT_NOTE) :] for note in params.notes if note.startswith(CONSTANT_NOTE)]
            raise DerivationError(
                "convert.anchors is plugin, but GridAnchor_TRT does not make this model's anchors",
                "; ".join(reasons),
                "use convert.anchors: auto, which carries them as a constant",
            )
        return params
    if choice == "constant":
        note = f"{CONSTANT_NOTE}convert.anchors is constant; GridAnchor_TRT would make the same"
        return replace(params, grid_anchor=None, notes=(*params.notes, note))
    if anchors is None:
        return params
    distance = float(np.abs(grid_anchor_boxes(params.grid_anchor) - anchors).max())
    note = f"anchors are made by GridAnchor_TRT: its formula is within {max(distance, 1e-9):.1g} of the model's own"
    return replace(params, notes=(*params.notes, note))


def larger_top_k(params: PluginParams) -> Optional[int]:
    """A topK with which crowded images lose little; None where there are no more priors, or the plugin takes no more.

    TensorFlow suppresses among all priors, then keeps max_detections_per_class; NMS_TRT suppresses among the topK best.
    An object calls forth several candidates, so topK has to be some times that number.
    """
    larger = min(_CANDIDATES * params.nms.top_k, params.num_priors, MOST_TOP_K)
    return larger if larger > params.nms.top_k else None


def _top_k(given: Union[int, str], params: PluginParams) -> PluginParams:
    """Raise topK (never lower it), as far as the plugin goes."""
    wanted = given if isinstance(given, int) else larger_top_k(params) or params.nms.top_k
    top_k = min(max(wanted, params.nms.top_k), params.num_priors, MOST_TOP_K)
    if top_k == params.nms.top_k:
        return params
    raised = params.with_nms(top_k=top_k)
    return replace(raised, notes=(*params.notes, f"topK is raised from {params.nms.top_k} to {top_k}"))


def _normalize_in_engine(params: PluginParams) -> PluginParams:
    """Pixels of 0..255 go in.

    Resizing (bilinear) and normalising (affine) can be exchanged, so the order of the era no longer matters for the
    image itself. It does for the margin of a padded one: where the API pads after it normalised, the margin's pixels
    become those that the engine normalises to the pad value.
    """
    image = params.input
    if image.normalize == IDENTITY:
        return params
    pad = image.resize.pad_value
    if image.order == "normalize_resize":
        factors = zip(pad, image.normalize.scale, image.normalize.offset)
        red, green, blue = ((value - offset) / scale for value, scale, offset in factors)
        pad = (red, green, blue)
    raw: InputSpec = replace(
        image, normalize=IDENTITY, order="resize_normalize", resize=replace(image.resize, pad_value=pad)
    )
    note = "the engine normalises: its input is pixels of 0..255, as float32"
    return replace(params, input=raw, engine_normalize=image.normalize, notes=(*params.notes, note))
