"""Plugin parameters written down from what a graph says, where a test needs some."""

from __future__ import annotations

from jetlane.tasks.converter.ssd.params import GridAnchor, InputSpec, Nms, PluginParams


def parameters(ssd, constant=False, **nms) -> PluginParams:
    y, x, h, w = ssd.box_coder_scales
    ratios = (1.0, 2.0, 0.5, 3.0, 0.3333)
    anchors = GridAnchor(len(ssd.heads), 0.2, 0.95, ratios, ssd.feature_map_shapes, (1 / x, 1 / y, 1 / w, 1 / h))
    settings = {"num_classes": ssd.num_classes, "top_k": 100, "keep_top_k": 100, "nms_threshold": 0.6}
    settings["conf_sigmoid"] = ssd.scores.converter == "SIGMOID"
    return PluginParams(
        input=InputSpec(*ssd.input_size),
        nms=Nms(**{**settings, **nms}),
        num_priors=ssd.num_priors,
        feature_map_shapes=ssd.feature_map_shapes,
        grid_anchor=None if constant else anchors,
        score_converter=ssd.scores.converter,
    )
