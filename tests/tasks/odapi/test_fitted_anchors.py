"""Anchors fitted to a data set, in a real graph: the Object Detection API makes them, and the plugin makes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.tasks.data.test_anchor_fit import THIN
from tests.tasks.odapi.conftest import Trained

from jetlane.tasks.converter.convert import convert_model, derive_plugins
from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.data.anchor_fit import fit, with_anchors
from jetlane.tasks.odapi.client import ExportJob, OdapiChild

pytestmark = pytest.mark.tensorflow


def test_an_export_with_fitted_anchors_converts_to_grid_anchor(
    child: OdapiChild, trained: Trained, tmp_path: Path
) -> None:
    text = trained.job.pipeline_config.read_text()
    found = fit(*THIN, text)
    assert found.fitted is not None and found.fitted.matched > found.matched + 0.3
    fitted = tmp_path / "fitted.config"
    fitted.write_text(with_anchors(text, found.fitted.anchors))
    job = ExportJob(fitted, trained.checkpoint, tmp_path / "export")
    job.out.mkdir()
    child.export(job)  # as many boxes a cell as before: the same weights fit
    graph = tmp_path / "export" / "frozen_inference_graph.pb"
    params = derive_plugins(fitted, graph)  # holds the graph's own anchors against the config's
    assert params.grid_anchor is not None
    assert np.allclose(params.grid_anchor.aspect_ratios, found.fitted.anchors.aspect_ratios)
    assert len(plugins.grid_anchor_boxes(params.grid_anchor)) == params.num_priors
    convert_model(graph, fitted, tmp_path)
    assert (tmp_path / "model.uff").is_file() and (tmp_path / "model.onnx").is_file()
