"""How often a spec is validated on its way from its file into the run's steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jetlane.specs import contradictions, schema, section
from jetlane.specs.load import load_spec

#: What a flow returns that did nothing.
ENDED: dict[str, Any] = {"devices": {}, "changed": False, "report": "", "release": ""}


class Counts:
    """Validations of whole specs, and of one field in a section."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        self.specs = self.fields = 0
        check_spec, check_text = contradictions.in_run, section._refuse_unfit

        def count_spec(spec: schema.RunSpec) -> Any:
            self.specs += 1
            return check_spec(spec)

        def count_text(given: str, *limits: Any, **more: Any) -> None:
            self.fields += given == text
            check_text(given, *limits, **more)

        monkeypatch.setattr(contradictions, "in_run", count_spec)
        monkeypatch.setattr(section, "_refuse_unfit", count_text)


def test_a_spec_is_validated_once_when_it_is_read_and_its_sections_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow's parameters are sections, of which it makes a spec again: what holds between sections is checked once
    more there, since the parameters may have come as JSON. The sections' own fields are not."""
    from jetlane.flows import retrain_and_deploy as module
    from jetlane.flows.serving.local_run import parameters

    (tmp_path / "label_map.pbtxt").touch()
    (tmp_path / "a.record").touch()
    data = "{label_map: label_map.pbtxt, train: [a.record], validation: [a.record]}"
    (tmp_path / "spec.yaml").write_text(f"name: counted\ndataset: {data}\n")
    counts = Counts(monkeypatch, "label_map.pbtxt")
    spec = load_spec(tmp_path / "spec.yaml")
    assert (counts.specs, counts.fields) == (1, 1)
    absolute = Counts(monkeypatch, str(tmp_path / "label_map.pbtxt"))
    ran: list[schema.RunSpec] = []
    monkeypatch.setattr(module, "_whole_story", lambda run: ran.append(run.spec) or ENDED)
    flow = module.retrain_and_deploy
    checked = flow.validate_parameters(parameters(spec))
    assert (absolute.specs, absolute.fields) == (0, 0), "Prefect takes sections as they are"
    flow.fn(**checked)
    assert (absolute.specs, absolute.fields) == (1, 0)
    assert ran == [spec]


def test_parameters_that_come_as_json_are_validated_by_prefect_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jetlane.flows import retrain_and_deploy as module

    (tmp_path / "label_map.pbtxt").touch()
    (tmp_path / "a.record").touch()
    record, labels = str(tmp_path / "a.record"), str(tmp_path / "label_map.pbtxt")
    data = {"label_map": labels, "train": [record], "validation": [record]}
    counts = Counts(monkeypatch, labels)
    monkeypatch.setattr(module, "_whole_story", lambda run: ENDED)
    flow = module.retrain_and_deploy
    given = {"name": "counted", "dataset": data, "workspace": str(tmp_path / "work")}
    flow.fn(**flow.validate_parameters(given))
    assert (counts.specs, counts.fields) == (1, 1)


def test_a_fleet_command_takes_the_sections_of_its_spec_as_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jetlane.flows.cli.commands.fleet.request import FleetArguments

    build = "{before: [[sh, -c, counted-command]]}"
    text = f"name: counted\ndataset: {{shapes: {{}}}}\nfleet: {{virtual: 1, waves: [1]}}\nbuild: {build}\n"
    (tmp_path / "spec.yaml").write_text(text)
    counts = Counts(monkeypatch, "counted-command")
    chosen = FleetArguments(None, None, (), tmp_path / "spec.yaml", tmp_path, None)
    assert chosen.asked().fleet == load_spec(tmp_path / "spec.yaml").fleet
    assert counts.fields == 2, "one for each reading of the file"
    changed = chosen.asked(waves="1,100%")
    assert (changed.fleet.waves, changed.build.before) == ([1, "100%"], [["sh", "-c", "counted-command"]])
    assert counts.fields == 3
