"""A local Prefect server's API and files serve its owner alone: not other users, not foreign web pages."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

import pytest
from tests.flows import chromium
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from jetlane.flows.serving import private_files
from jetlane.flows.serving import up as up_module
from jetlane.flows.serving.api import QUIET, ask, wait_until_healthy
from jetlane.flows.serving.first_database import kept_database
from jetlane.flows.serving.ports import answers, reserve
from jetlane.flows.serving.private_server import PrefectApi
from jetlane.flows.serving.up_state import UpState
from jetlane.specs.errors import JetlaneError, WorkspaceError
from jetlane.specs.support.local_files import PRIVATE, write_atomic

HERE = Path(__file__).parent
SECRET = "parameter-of-the-owner"
SOCKETS = (
    "/api/events/in",
    "/api/events/out",
    "/api/logs/out",
    "/api/task_runs/subscriptions/scheduled",
    "/api/work_pools/jetlane/workers/connect",
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def browser(*hosts: str) -> Any:
    """A real Chromium (tests/flows/chromium.py) for which these names lead to this machine."""
    if chromium.program() is None:
        pytest.skip("Debian's chromium is not installed (.ci/run does it)")
    return chromium.Chromium(*hosts)


@dataclass
class Server:
    """A server under attack, with one flow run of its owner."""

    url: str
    login: str
    home: Path
    pid: int
    flow: str = ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode(self.login.encode()).decode()

    def ask(self, path: str, body: Optional[dict[str, Any]] = None) -> Any:
        return ask(self.url + path, body, self.login)

    def runs(self) -> int:
        return self.ask("/flow_runs/count", {})

    def get(self, path: str, *headers: tuple[str, str]) -> int:
        """Status of a request with these headers and no others."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.putrequest("GET", path, skip_host=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse().status


def owners(server: Server) -> Server:
    server.flow = server.ask("/flows/", {"name": "owners"})["id"]
    server.ask("/flow_runs/", {"flow_id": server.flow, "parameters": {"key": SECRET}})
    return server


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A folder that every user can enter; pytest's own are closed, and would prove nothing."""
    folder = Path(tempfile.mkdtemp(prefix="jetlane-access-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def project(reachable: Path) -> Iterator[Path]:
    """Where `jetlane up` has run, over what an older jetlane left open to every user."""
    folder = reachable / "project"
    up = folder / ".jetlane" / "up"
    up.mkdir(parents=True)
    (up / "worker.log").write_text("old\n")
    (up / "storage").mkdir()
    (up / "storage" / "result").write_text("old\n")
    with reserve() as free:
        port = free.getsockname()[1]
    try:
        jetlane("up", "--port", str(port), cwd=folder)
        yield folder
    finally:
        jetlane("down", cwd=folder)


def jetlane(*arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "jetlane", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lasting_of(project: Path) -> Server:
    state = UpState(project / ".jetlane" / "up")
    process = state.process("server")
    assert state.url and state.login and process
    return Server(state.url, state.login, project / ".jetlane" / "up", process.pid)


@pytest.fixture(scope="module")
def private_server(reachable: Path) -> Iterator[Server]:
    """In a folder that an older jetlane left open to every user."""
    home = reachable / "work" / "prefect" / "0"
    home.mkdir(parents=True)
    (home / "server.log").write_text("old\n")
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    try:
        with PrefectApi(reachable / "work") as api:
            api.wait()
            assert api._process is not None
            login = os.environ["PREFECT_API_AUTH_STRING"]
            yield owners(Server(os.environ["PREFECT_API_URL"], login, home, api._process.pid))
        assert "PREFECT_API_AUTH_STRING" not in os.environ
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(params=["lasting", "private"])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "private":
        return request.getfixturevalue("private_server")
    return owners(lasting_of(request.getfixturevalue("project")))


def as_nobody(port: int, **job: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "other_user_attempts.py")],
        input=json.dumps({"port": port, **job}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@as_root
@pytest.mark.prefect
def test_another_user_reads_nothing_and_starts_nothing(server: Server, reachable: Path) -> None:
    control = reachable / "for-every-user"
    control.write_text("seen")
    deployments = server.ask("/deployments/filter", {})
    command = {"job_variables": {"command": "touch /tmp/owned"}, "parameters": {}}
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/api/flow_runs/", {"flow_id": server.flow, **command}),
        *[("POST", f"/api/deployments/{one['id']}/create_flow_run", command) for one in deployments],
        ("POST", "/api/flow_runs/filter", {}),
        ("POST", "/api/deployments/filter", {}),
        ("POST", "/api/logs/filter", {}),
        ("POST", "/api/events/filter", {}),
        ("GET", "/api/admin/settings", None),
        ("POST", "/api/admin/database/clear", {"confirm": True}),
        ("POST", "/api/ui/flow_runs/history", {}),
        ("GET", "/api/docs", None),
    ]
    guesses = ["", "Basic", "Bearer x", *("Basic " + base64.b64encode(g).decode() for g in (b"", b"jetlane:", b"\xff"))]
    sent = [(*one, {"Authorization": guess} if guess else {}) for one in requests for guess in guesses]
    files = [str(path) for path in (server.home, *server.home.rglob("*"))]
    before = server.runs()
    tried = as_nobody(
        server.port,
        requests=[*sent, ("GET", "/api/health", None, {})],
        files=[*files, f"/proc/{server.pid}/environ", str(control)],
    )
    assert [answer["status"] for answer in tried["answers"]] == [401] * len(sent) + [200]
    assert not any(SECRET in answer["body"] for answer in tried["answers"])
    assert server.runs() == before
    assert tried["files"].pop(str(control)) == "seen", "it can read what every user may read"
    assert any(path.endswith("prefect.db") for path in tried["files"])
    assert {path for path, text in tried["files"].items() if text is not None} == set()
    assert any("server_process" in line for line in tried["command_lines"])
    assert not any(server.login in line for line in tried["command_lines"])
    assert tried["ports_taken"] == []


@pytest.mark.prefect
def test_all_that_a_server_keeps_is_its_owners_alone_and_the_login_in_one_file(server: Server) -> None:
    encoded = base64.b64encode(server.login.encode())
    for path in (server.home, *server.home.rglob("*")):
        mode = path.lstat().st_mode
        if server.home / "ui" not in path.parents:  # Prefect's pages, copied with their modes into a closed folder
            assert stat.S_ISLNK(mode) or not mode & 0o077, f"{path}: {oct(mode)}"
        if path.is_file() and path.name != "login":
            content = path.read_bytes()
            assert server.login.encode() not in content and encoded not in content, path
    assert (server.home / "login").exists() == (server.home.name == "up")


@pytest.mark.prefect
def test_only_the_loopback_names_are_served(server: Server) -> None:
    port, login = server.port, ("Authorization", server.authorization)
    for path in ("/api/admin/version", "/", "/ui-settings", "/api/health"):
        for host in (
            "evil.example",
            f"evil.example:{port}",
            f"127.0.0.1.evil.example:{port}",
            f"localhost.evil.example:{port}",
            f"127.0.0.1:{port}@evil.example",
            f"evil.example/127.0.0.1:{port}",
            "127.0.0.1:",
            f"127.0.0.1:{port}:",
            "0.0.0.0",
            "",
        ):
            assert server.get(path, ("Host", host), login) == 403, host
        assert server.get(path, login) in (400, 403), "no Host at all"
        assert server.get(path, ("Host", "localhost"), ("Host", "evil.example"), login) in (400, 403)
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", "localhost:8080"):
        assert server.get("/api/admin/version", ("Host", host), login) == 200, host


@pytest.mark.prefect
def test_a_foreign_origin_is_refused_although_it_knows_the_login(server: Server) -> None:
    own = f"127.0.0.1:{server.port}"
    login = ("Authorization", server.authorization)
    for origin in (
        "http://evil.example",
        "null",
        f"https://{own}",
        "http://127.0.0.1:1",
        f"http://localhost:{server.port}",
    ):
        assert server.get("/api/admin/version", ("Host", own), ("Origin", origin), login) == 403, origin
    assert server.get("/api/admin/version", ("Host", own), ("Origin", f"http://{own}"), login) == 200


@pytest.mark.prefect
@pytest.mark.parametrize("path", SOCKETS)
def test_websockets_ask_for_the_login_and_the_own_origin(server: Server, path: str) -> None:
    own = f"127.0.0.1:{server.port}"

    def tells(token: Optional[str], host: str = own, **options: Any) -> Any:
        """What the server answers to the first message, or the status or code that it ends with."""
        line = socket.create_connection(("127.0.0.1", server.port))
        try:
            with connect(f"ws://{host}{path}", sock=line, compression=None, **options) as talk:
                talk.send(json.dumps({"type": "auth", "token": token}))
                return json.loads(talk.recv(timeout=20))["type"]
        except WebSocketException as error:
            response = getattr(error, "response", None)
            return response.status_code if response is not None else error.rcvd.code  # type: ignore[attr-defined]

    prefect: dict[str, Any] = {"subprotocols": ["prefect"]}
    assert tells(server.login, **prefect) == "auth_success"
    assert tells(server.login, origin=f"http://{own}", **prefect) == "auth_success"
    assert tells("wrong", **prefect) == tells(None, **prefect) == 1008
    assert tells(server.login) == 403, "no way around the handshake"
    assert tells(server.login, origin="http://evil.example", **prefect) == 403
    assert tells(server.login, host=f"evil.example:{server.port}", **prefect) == 403


class Page(BaseHTTPRequestHandler):
    """A page of somebody else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>foreign</title><body>foreign")

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def foreign_port() -> Iterator[int]:
    pages = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    yield pages.server_address[1]
    pages.shutdown()
    pages.server_close()


@pytest.mark.prefect
def test_a_foreign_page_in_a_browser_reads_nothing_and_starts_nothing(server: Server, foreign_port: int) -> None:
    """It even knows the login; its name may be made to lead to this machine, at the server's own port."""
    before = server.runs()
    attack = """(async () => {
        const api = API, run = JSON.stringify({flow_id: FLOW, name: 'foreign'}), headers = {
            'Content-Type': 'application/json', 'Authorization': LOGIN};
        const tell = promise => promise.then(async answer => `${answer.type} ${answer.status} ${await answer.text()}`,
            error => 'refused');
        const socket = path => new Promise(done => {
            const talk = new WebSocket(api.replace('http', 'ws') + path, 'prefect');
            talk.onopen = () => done('opened');
            talk.onerror = () => done('refused');
        });
        return [
            await tell(fetch(api + '/flow_runs/filter', {method: 'POST', headers, body: '{}'})),
            await tell(fetch(api + '/flow_runs/', {method: 'POST', headers, body: run})),
            await tell(fetch(api + '/flow_runs/', {method: 'POST', body: run})),
            await tell(fetch(api + '/flow_runs/', {method: 'POST', mode: 'no-cors', body: run})),
            await tell(fetch(api + '/admin/version', {headers})),
            await socket('/events/in'),
        ];
    })()"""

    def attacked(page: Any, api: str) -> list[str]:
        values = {"API": api, "FLOW": server.flow, "LOGIN": server.authorization}
        script = attack
        for name, value in values.items():
            script = script.replace(name, json.dumps(value))
        return page.run(script)

    page = browser("evil.example")
    try:
        for name in ("evil.example", "127.0.0.1", "localhost"):
            page.open(f"http://{name}:{foreign_port}/")
            tried = attacked(page, server.url)
            opaque = tried.pop(3)
            assert tried == ["refused"] * 5, f"from {name}: {tried}"
            assert opaque in ("refused", "opaque 0 ")
        rebound = f"http://evil.example:{server.port}"
        page.open(rebound + "/api/health")
        assert "this server answers to 127.0.0.1 and localhost only" in page.text()
        *answers_, talk = attacked(page, rebound + "/api")
        assert all(" 403 " in answer for answer in answers_) and talk == "refused", answers_
        assert server.runs() == before, "no page has started anything"
        page.open(f"http://127.0.0.1:{server.port}/api/health")
        *answers_, talk = attacked(page, server.url)
        assert SECRET in answers_[0] and " 201 " in answers_[1], "the same from its own origin, with the login, works"
        assert talk == "opened" and server.runs() == before + 1
    finally:
        page.close()


@pytest.mark.prefect
def test_the_ui_works_after_log_in(project: Path, tmp_path: Path) -> None:
    server = lasting_of(project)
    assert jetlane("up", "--show-login", cwd=project) == server.login + "\n"
    page = browser()
    try:
        page.send("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
        page.open(f"http://127.0.0.1:{server.port}/")
        page.until("document.querySelector('input[type=password]')")
        for password in ("jetlane:wrong", server.login):
            page.run("document.querySelector('input[type=password]').select()")
            page.type(password)
            page.press_enter()
            page.until("document.body.innerText.includes('Invalid') || !location.pathname.includes('login')")
        page.until("!location.pathname.includes('login')")
        page.open(f"http://127.0.0.1:{server.port}/v2/deployments")
        page.until("document.body.innerText.includes('retrain-and-deploy')")
        page.until("document.body.innerText.includes('5 Deployments')")
        page.screenshot(Path(os.environ.get("JETLANE_SCREENSHOTS", tmp_path), "deployments.png"))
        page.open(f"http://127.0.0.1:{server.port}/dashboard")  # Prefect's older pages, with the same login
        page.until("document.body.innerText.includes('Work Pools') && !document.querySelector('input[type=password]')")
    finally:
        page.close()


@as_root
@pytest.mark.prefect
@pytest.mark.usefixtures("clean_environment")
def test_no_other_user_gets_the_port_of_a_private_server_that_died(tmp_path: Path) -> None:
    with PrefectApi(tmp_path) as api:
        api.wait()
        port = urlsplit(os.environ["PREFECT_API_URL"]).port or 0
        assert api._process is not None
        api._process.kill()
        api._process.wait()
        assert not answers(port)
        assert as_nobody(port)["ports_taken"] == []
    assert len(as_nobody(port)["ports_taken"]) > 0, "and afterwards it is free"


@pytest.mark.prefect
def test_a_server_that_died_is_started_again_on_the_port_that_its_worker_kept(project: Path) -> None:
    server = lasting_of(project)
    worker = UpState(server.home).process("worker")
    os.kill(server.pid, signal.SIGKILL)
    while UpState(server.home).process("server") is not None:
        time.sleep(0.05)
    if os.geteuid() == 0:
        assert as_nobody(server.port)["ports_taken"] == []
    jetlane("up", "--port", str(server.port), cwd=project)
    again = lasting_of(project)
    assert (again.url, again.login) == (server.url, server.login), "what runs on the worker can go on"
    assert UpState(server.home).process("worker") == worker and again.pid != server.pid


@pytest.mark.prefect
@pytest.mark.usefixtures("clean_environment")
def test_a_server_of_an_older_jetlane_is_replaced_unless_runs_are_under_way(tmp_path: Path) -> None:
    folder = tmp_path / ".jetlane" / "up"
    folder.mkdir(parents=True)
    (tmp_path / "prefect.yaml").write_text("")
    if kept_database().is_file():
        shutil.copyfile(kept_database(), folder / "prefect.db")
    with reserve() as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(folder), "PREFECT_SERVER_UI_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with open(folder / "server.log", "wb") as log:
        old = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        wait_until_healthy(url, old, folder / "server.log")
        state = UpState(folder)
        state.note(url, "server", old.pid)
        flow = ask(f"{url}/flows/", {"name": "long"})["id"]
        run = ask(f"{url}/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]
        with pytest.raises(JetlaneError, match="no login that is known") as refused:
            up_module.up(tmp_path / ".jetlane", port)
        assert "runs under way: 1" in refused.value.why and "jetlane down" in refused.value.remedy
        assert old.poll() is None, "it was let alone"
        ask(f"{url}/flow_runs/{run}/set_state", {"state": {"type": "COMPLETED"}, "force": True})
        threading.Thread(target=old.wait, daemon=True).start()  # its parent is this process, which has to reap it
        assert up_module._stop_open_server(state)
        assert not answers(port)
    finally:
        if old.poll() is None:
            os.killpg(old.pid, signal.SIGKILL)
            old.wait()


@pytest.mark.prefect
def test_a_login_that_is_missing_is_an_error_that_says_so(
    private_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", private_server.url)
    for login in (None, "jetlane:wrong"):
        monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
        if login is not None:
            monkeypatch.setenv("PREFECT_API_AUTH_STRING", login)
        with PrefectApi(tmp_path) as api, pytest.raises(JetlaneError, match="refuses the login") as refused:
            api.wait()
        assert "PREFECT_API_AUTH_STRING" in refused.value.remedy
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{private_server.url}/flow_runs/count", {}, login)


def test_what_an_older_jetlane_left_open_is_closed_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "up", tmp_path / "elsewhere"
    (folder / "deep").mkdir(parents=True)
    elsewhere.write_text("")
    elsewhere.chmod(0o644)
    (folder / "link").symlink_to(elsewhere)
    (folder / "lost").symlink_to(tmp_path / "nothing")
    (folder / "deep" / "program").write_text("")
    (folder / "deep" / "program").chmod(0o775)
    private_files.close_to_others(folder)
    assert oct((folder / "deep" / "program").stat().st_mode)[-3:] == "700"
    assert oct((folder / "deep").stat().st_mode)[-3:] == oct(folder.stat().st_mode)[-3:] == "700"
    assert oct(elsewhere.stat().st_mode)[-3:] == "644"
    write_atomic(folder / "login", "secret", PRIVATE)
    assert oct((folder / "login").stat().st_mode)[-3:] == "600"


@as_root
def test_a_folder_of_another_user_is_refused_for_a_servers_files(tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    os.chown(tmp_path / "up", pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(WorkspaceError, match="cannot be closed to other users"):
        private_files.close_to_others(tmp_path / "up")


@as_root
def test_a_port_of_another_user_is_an_error_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(JetlaneError, match="cannot be taken"):
            reserve(taken.getsockname()[1])
