"""The server of `jetlane up` shows reports to who knows their random names, and nothing else of its folder."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from jetlane.flows.serving.loopback_filter import LoopbackFilter
from jetlane.flows.serving.shared_reports import KEPT, SharedReports, share_report

URL = "http://127.0.0.1:4287/api"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in which `jetlane up` was started, with a page to share."""
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "state.json").write_text(json.dumps({"url": URL, "processes": {}}))
    (tmp_path / "up" / "login").write_text("jetlane:secret\n")
    (tmp_path / "page.html").write_text("<h1>shapes</h1>")
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", URL)
    return tmp_path


def get(workspace: Path, path: str) -> httpx.Response:
    server = LoopbackFilter(SharedReports(PlainTextResponse("Prefect"), workspace / "up"))

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=server)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4287") as client:
            return await client.get(path)

    return asyncio.run(asked())


def test_a_shared_report_opens_and_runs_nothing(workspace: Path) -> None:
    address = share_report(workspace / "page.html", workspace)
    assert address is not None and address.startswith("http://127.0.0.1:4287/reports/")
    shown = get(workspace, address.removeprefix("http://127.0.0.1:4287"))
    assert (shown.status_code, shown.text) == (200, "<h1>shapes</h1>")
    assert shown.headers["content-type"].startswith("text/html")
    assert shown.headers["content-security-policy"].startswith(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )
    assert share_report(workspace / "page.html", workspace) != address, "names are random"


def test_the_rest_of_the_folder_is_not_shown(workspace: Path) -> None:
    share_report(workspace / "page.html", workspace)
    for path in ("", "../login", "..%2Flogin", "%2e%2e/login", "x.html", "a" * 32 + ".html", "." * 32 + ".html"):
        shown = get(workspace, f"/reports/{path}")
        assert "secret" not in shown.text and (shown.status_code == 404 or shown.text == "Prefect"), path
    assert get(workspace, "/runs").text == "Prefect"


def test_reports_are_their_owners_alone_and_no_more_than_are_kept(workspace: Path) -> None:
    folder = workspace / "up" / "reports"
    share_report(workspace / "page.html", workspace)
    (first,) = folder.iterdir()
    assert first.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    os.utime(first, (1, 1))
    for number in range(KEPT):
        (folder / f"{number:032}.html").touch()
    share_report(workspace / "page.html", workspace)
    assert len(list(folder.iterdir())) == KEPT and not first.exists()


def test_another_server_gets_no_link(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/a/workspaces/b")
    assert share_report(workspace / "page.html", workspace) is None
    monkeypatch.delenv("PREFECT_API_URL")
    assert share_report(workspace / "page.html", workspace) is None
