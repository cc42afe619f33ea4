"""Reports that the server of `jetlane up` shows, so that a browser elsewhere opens them from a run's artifact.

A copy lies in ``<workspace>/up/reports``, which only the owner can read, under a random name. Who knows that name has
read the artifact, which takes the server's login; a browser sends no login with a link.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

from starlette.responses import FileResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from jetlane.flows.serving.up_state import UpState
from jetlane.specs.support.local_files import PRIVATE, private_folder

#: Where they lie below the folder of `jetlane up`, and on the server.
FOLDER, PREFIX = "reports", "/reports/"
#: Newest reports that are kept.
KEPT = 100
_NAME = re.compile(r"[A-Za-z0-9_-]{32}\.html")


def share_report(page: Path, workspace: Path) -> Optional[str]:
    """Have the server that this run reports to show a page; its address there.

    Args:
        workspace: Of the run: `jetlane up` may have been started in it.

    Returns:
        None where the server is another one, or the page cannot be copied.
    """
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    homes = [Path(home) for home in (os.environ.get("PREFECT_HOME"), workspace / "up") if home]
    home = next((one for one in homes if url and UpState(one).url == url), None)
    if home is None:
        return None
    name = f"{secrets.token_urlsafe(24)}.html"
    try:
        folder = home / FOLDER
        private_folder(folder)
        shutil.copyfile(page, folder / name)
        (folder / name).chmod(PRIVATE)
        _forget(folder)
    except OSError:
        return None
    at = urlsplit(url)
    return f"{at.scheme}://{at.netloc}{PREFIX}{name}"


def _forget(folder: Path) -> None:
    """Remove all but the newest."""
    newest = sorted(folder.glob("*.html"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest[KEPT:]:
        file.unlink(missing_ok=True)


class SharedReports:
    """ASGI middleware: shows the shared reports of a folder, and passes on everything else.

    Args:
        app: What answers elsewhere.
        home: The folder of `jetlane up`.
    """

    def __init__(self, app: ASGIApp, home: Path) -> None:
        self._app, self._folder = app, home / FOLDER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        name = scope["path"][len(PREFIX) :]
        file = self._folder / name
        if scope["method"] in ("GET", "HEAD") and _NAME.fullmatch(name) and file.is_file():
            # of a cache that others can read, its owner knows nothing
            kept = {"Cache-Control": "private, max-age=3600", "Referrer-Policy": "no-referrer"}
            await FileResponse(file, media_type="text/html", headers=kept)(scope, receive, send)
        else:
            await PlainTextResponse("there is no such report here\n", status_code=404)(scope, receive, send)
