"""``jetlane device ...`` against a board that has three releases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from click.testing import CliRunner

from jetlane.remote.device.client import bench, health, status
from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.fleet import views
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.remote.virtual import fleet as virtual

WELL = ["sh", "-c", "echo it answers; test ! -e sick"]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> list[Path]:
    folder = tmp_path_factory.mktemp("releases")
    activate = {"health": {"command": WELL, "window_s": 0.2, "interval_s": 0.1}}
    return [make_release(folder, seed=seed, activate=activate) for seed in range(3)]


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory, releases: list[Path]) -> Iterator[virtual.VirtualFleet]:
    fleet = virtual.start(tmp_path_factory.mktemp("boards") / "board")
    device = load_inventory(fleet.inventory).devices[0]
    for release in releases:
        deliver(release, device)
    yield fleet
    virtual.stop(fleet.folder)


@pytest.fixture
def device(boards: virtual.VirtualFleet, releases: list[Path]) -> Device:
    device = load_inventory(boards.inventory).devices[0]
    if status(device)["current"] != releases[2].name:
        deliver(releases[2], device)
    return device


@pytest.fixture
def jetlane(device: Device) -> Callable[..., str]:
    from jetlane.flows.cli.commands.device import device as group

    def run(*words: str) -> str:
        done = CliRunner().invoke(group, [words[0], device.name, "--inventory", str(device.inventory), *words[1:]])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_an_unhealthy_release_is_rolled_back(
    boards: virtual.VirtualFleet, device: Device, releases: list[Path]
) -> None:
    sick = boards.devices[0].home / "jetlane" / "sick"
    rollback(device)
    assert status(device)["current"] == releases[1].name
    sick.touch()
    with pytest.raises(AgentFailure, match="did not show itself healthy on this board") as caught:
        deliver(releases[2], device)
    assert caught.value.kind == "unhealthy" and "it printed: it answers" in caught.value.why
    assert status(device)["current"] == releases[1].name
    with pytest.raises(AgentFailure) as again:
        health(device)
    assert again.value.kind == "unhealthy"
    sick.unlink()
    assert deliver(releases[2], device).state == "active" and health(device)["healthy"]


def test_health_shows_the_release_and_the_answer(jetlane: Callable[..., str], releases: list[Path]) -> None:
    shown = jetlane("health")
    assert releases[2].name in shown and "it answers" in shown


def test_status_fits_on_a_screen(jetlane: Callable[..., str]) -> None:
    shown = jetlane("status")
    assert "worst pair" in shown and "samples/" not in shown and len(shown) < 4000
    assert "{" not in shown and "[" not in shown, "words, no JSON"


def test_probe_speaks_to_people_and_to_programs(jetlane: Callable[..., str], device: Device) -> None:
    shown = jetlane("probe")
    assert "{" not in shown and re.search(r"^onnxruntime +\d", shown, re.MULTILINE), shown
    assert json.loads(jetlane("probe", "--json"))["python"] in shown
    assert json.loads(jetlane("status", "--json"))["current"] == status(device)["current"]


def test_a_rollback_of_one_device_is_in_the_fleets_history(
    jetlane: Callable[..., str], device: Device, releases: list[Path], tmp_path: Path
) -> None:
    Ledger(f"sqlite:///{tmp_path / 'fleet.db'}").close()
    said = jetlane("rollback", "--workspace", str(tmp_path), "--to", releases[0].name[:-4])
    assert f"runs {releases[0].name}, before: {releases[2].name}" in said
    said = jetlane("rollback", "--workspace", str(tmp_path))
    assert f"runs {releases[0].name} already: it was rolled back before" in said
    assert status(device)["current"] == releases[0].name
    book = Ledger(f"sqlite:///{tmp_path / 'fleet.db'}")
    (row,) = views.fleet(book)
    assert (row["device"], row["runs"], row["state"]) == (device.name, releases[0].name, "rolled_back")
    assert [entry["operation"] for entry in views.history(book)] == ["rollback"] * 2
    book.close()
    deliver(releases[1], device)  # for the other tests: what was before


def test_rollback_goes_to_the_previous_or_a_named_release(
    jetlane: Callable[..., str], device: Device, releases: list[Path]
) -> None:
    said = jetlane("rollback")
    assert f"runs {releases[1].name}, before: {releases[2].name}" in said and "the next run of the spec" in said
    jetlane("rollback", "--to", releases[0].name)
    assert status(device)["current"] == releases[0].name
    with pytest.raises(AgentFailure, match="is not on the board"):
        jetlane("rollback", "--to", "small-000000000000")


def test_a_rollback_rebuilds_an_engine_that_no_longer_fits(
    boards: virtual.VirtualFleet, device: Device, releases: list[Path]
) -> None:
    """As after an upgrade of JetPack: the engine there is was made by other software."""
    root = boards.devices[0].home / "jetlane"
    state = json.loads((root / "state.json").read_text())
    key = state["verified"][releases[1].name]
    (root / "engines" / key).rename(root / "engines" / "old")
    facts = json.loads((root / "engines" / "old" / "engine.json").read_text())
    facts["recipe"]["runtime"]["onnxruntime"] = "0.1"
    (root / "engines" / "old" / "engine.json").write_text(json.dumps(facts))
    state["verified"][releases[1].name] = "old"
    (root / "state.json").write_text(json.dumps(state))
    assert rollback(device, release=releases[1].name)["release"] == releases[1].name
    assert status(device)["verified"][releases[1].name] == key


def test_bench_prints_a_table_of_times(jetlane: Callable[..., str], device: Device, releases: list[Path]) -> None:
    found = bench(device, seconds=0.2, release=releases[1].name)
    assert found["release"] == releases[1].name and found["runs"] > 1 and found["per_second"] > 1
    assert {"input", "engine", "total"} <= set(found["table"])
    for row in found["table"].values():
        assert 0 <= row["median_ms"] <= row["p95_ms"] <= row["max_ms"]
    assert found["table"]["total"]["max_ms"] >= found["table"]["engine"]["max_ms"]
    assert found["before"]["memory"]["MemAvailable"] > 0 and found["after"]
    shown = jetlane("bench", "--seconds", "0.1")
    assert re.search(r"^total +\d+\.\d+ +\d+\.\d+ +\d+\.\d+$", shown, re.MULTILINE), shown


def test_cancel_without_a_running_build(jetlane: Callable[..., str]) -> None:
    assert "no build was under way" in jetlane("cancel")


def test_collect_garbage(jetlane: Callable[..., str], device: Device, releases: list[Path]) -> None:
    for release in (releases[1], releases[2]):
        deliver(release, device)
    assert f"removed: {releases[0].name}" in jetlane("collect-garbage", "--keep", "1")
    assert set(status(device)["releases"]) == {releases[1].name, releases[2].name}
    assert "0.0 MB freed; removed: no release" in jetlane("collect-garbage", "--keep", "1")
    deliver(releases[0], device)  # for the other tests
