"""A site's part under other task runners than threads, where they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetlane.flows.fleet_site import RUNNER, task_runner
from jetlane.remote.fleet import sites as jobs
from jetlane.remote.inventory import load_inventory
from jetlane.remote.release.shared_store import SharedStore
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import SpecError


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[virtual.VirtualFleet]:
    fleet = virtual.start(tmp_path / "virtual", virtual.numbered(3))
    yield fleet
    virtual.stop(fleet.folder)


def test_an_unknown_task_runner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNNER, "celery")
    with pytest.raises(SpecError, match="'celery'"):
        task_runner()


@pytest.mark.prefect
@pytest.mark.parametrize("runner", ["threads", "dask", "ray"])
def test_a_site_job_runs_under(
    runner: str,
    boards: virtual.VirtualFleet,
    release: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """One board of three is offline: the others are worked on, and the outcome of each is in the store."""
    if runner != "threads":
        # ImportError: ray is there, and does not go with what else is
        pytest.importorskip(f"prefect_{runner}", exc_type=ImportError)
    environment = request.getfixturevalue("prefect_server")
    store = SharedStore(f"file://{tmp_path}/store")
    store.publish(release)
    rows = {board.name: {"port": board.port} for board in boards.devices}
    away = rows["virtual-jetson-3"]
    away["port"] = 1
    defaults = {"host": virtual.HOST, "user": virtual.USER, "key": str(boards.folder / "user_key"), "agent": False}
    defaults.update(python=sys.executable, ssh_config=False)
    inventory = boards.folder / "of-the-site.yaml"
    inventory.write_text(json.dumps({"defaults": defaults, "devices": rows}))
    text, pinned = jobs.inventory_payload(inventory, load_inventory(inventory).devices)
    job = jobs.SiteJob("job", "deliver", release.name, tuple(rows), text, pinned)
    script = Path(__file__).with_name("run_flow.py")
    arguments = {"store": store.url, "job": job.to_json(), "folder": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, str(script), "jetlane.flows.fleet_site", "fleet_site", json.dumps(arguments)],
        env={**environment, RUNNER: runner, "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "OUTCOME null" in done.stdout, done.stdout + done.stderr
    one, two, three = (store.read(f"jobs/job/{name}") for name in rows)
    assert one is not None and two is not None and three is not None
    assert one["result"]["state"] == two["result"]["state"] == "active"
    assert three["error"]["kind"] == "unreachable"
    current = [board.home / "jetlane" / "current" for board in boards.devices[:2]]
    assert {os.path.basename(os.readlink(path)) for path in current} == {release.name}
