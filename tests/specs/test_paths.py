"""The files that a spec names, on the machine where it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.specs.errors import SpecError
from jetlane.specs.load import refuse_missing
from jetlane.specs.schema import RunSpec


def test_files_of_a_spec_from_elsewhere_are_looked_for_where_it_runs(tmp_path: Path) -> None:
    model = {"frozen_graph": str(tmp_path / "a.pb"), "pipeline_config": str(tmp_path / "b.config")}
    spec = RunSpec.model_validate({"name": "a", "model": model, "workspace": str(tmp_path)})
    with pytest.raises(SpecError) as caught:
        refuse_missing(spec)
    assert f"model.frozen_graph: no such file: {tmp_path / 'a.pb'}" in str(caught.value)
    assert f"model.pipeline_config: no such file: {tmp_path / 'b.config'}" in str(caught.value)
    refuse_missing(RunSpec.model_validate({"name": "a", "dataset": {"shapes": {}}}))
