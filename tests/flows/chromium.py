"""A real Chromium without a window, driven by its DevTools protocol: for tests of what a browser may do."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --no-default-browser-check --remote-debugging-port=0
--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"""  # has a mouse
_SECONDS = 60
#: Pixels of a screenshot; Chromium draws no higher ones.
_TALLEST = 16_000


def program() -> str | None:
    """Debian's Chromium; None where it is missing (`.ci/run` installs it)."""
    return shutil.which("chromium")


class ProtocolError(Exception):
    """What Chromium says against a command."""


class Chromium:
    """One browser with an empty profile and one page.

    Args:
        hosts: Names that lead to this machine for this browser.

    Attributes:
        events: What the protocol told meanwhile, of the domains that a test enabled.
    """

    def __init__(self, *hosts: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        mapped = ", ".join(f"MAP {host} 127.0.0.1" for host in hosts)
        self._process = subprocess.Popen(
            [program() or "", *FLAGS.split(), f"--user-data-dir={self._profile}", f"--host-resolver-rules={mapped}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._page = connect(self._address(), max_size=None, open_timeout=_SECONDS)
        except BaseException:
            self.close()
            raise
        self._numbers = itertools.count()

    def _address(self) -> str:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                port = (self._profile / "DevToolsActivePort").read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                    return next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page")
            except (OSError, IndexError, StopIteration):
                time.sleep(0.1)
        raise AssertionError("Chromium did not start")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; what it answers."""
        number = next(self._numbers)
        self._page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._page.recv(timeout=_SECONDS))
            if "method" in answer:
                self.events.append(answer)
            if answer.get("id") == number:
                if "error" in answer:
                    raise ProtocolError(answer["error"])
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to a page; return when it is loaded."""
        with suppress(ProtocolError):  # it is being left already
            self.run("window.left = true")  # the page before answers until the new one is there
        self.send("Page.navigate", url=url)
        self.until("!window.left && document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = _SECONDS) -> None:
        """Return when an expression is true.

        Raises:
            AssertionError: It does not become true; with what the page shows.
        """
        deadline = time.monotonic() + seconds
        while not self._holds(script):
            assert time.monotonic() < deadline, f"not true: {script}; the page shows: {self.text()}"
            time.sleep(0.1)

    def _holds(self, script: str) -> bool:
        try:
            return self.run(f"Boolean({script})")
        except ProtocolError:  # the page went to another one meanwhile
            return False

    def text(self) -> str:
        return self.run("location.href + ' ' + (document.body ? document.body.innerText : '')")

    def type(self, text: str) -> None:
        """Text into the element that has the focus, as from a keyboard."""
        self.send("Input.insertText", text=text)

    def press_enter(self) -> None:
        key: Mapping[str, Any] = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.send("Input.dispatchKeyEvent", type="keyDown", **key)
        self.send("Input.dispatchKeyEvent", type="keyUp", **key)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """What the window shows, or the whole page."""
        area: dict[str, Any] = {}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], _TALLEST), "scale": 1}
            area = {"clip": clip, "captureBeyondViewport": True}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", **area)["data"]))

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)
