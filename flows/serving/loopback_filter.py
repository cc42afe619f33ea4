"""A filter in front of a local Prefect server: only loopback's names are served, and only its own pages.

Prefect asks for the login; what it cannot do is done here. A page whose name was made to lead to this machine (DNS
rebinding) sends that name as Host; a page of another site sends its Origin, and could make a browser send requests and
open websockets; a page that frames the UI could have a logged-in person click in it. And the UI's own scripts
may connect to this server only: they would send usage statistics elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Optional

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jetlane.flows.serving.shared_reports import PREFIX

_OWN_HOST = re.compile(rb"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")  # any port: it may be reached through a tunnel
_POLICY_VIOLATION = 1008
_PAGES = "connect-src 'self'; form-action 'self'; frame-ancestors 'none'"
#: Reports hold what others wrote: nothing in them runs or asks for anything.
_REPORTS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'none'"


class LoopbackFilter:
    """ASGI middleware around the whole server.

    Args:
        app: Prefect's server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope["headers"])
        if refusal is None:
            await self._app(scope, receive, _confined(send, scope["path"]) if scope["type"] == "http" else send)
        elif scope["type"] == "http":
            await PlainTextResponse(refusal + "\n", status_code=403)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal})


def _refusal(headers: Iterable[tuple[bytes, bytes]]) -> Optional[str]:
    """Why a request with these headers is refused; None when it is not."""
    known: dict[bytes, list[bytes]] = {b"host": [], b"origin": []}
    for name, value in headers:
        known.setdefault(name.lower(), []).append(value.lower())
    hosts, origins = known[b"host"], known[b"origin"]
    if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0]):
        return "this server answers to 127.0.0.1 and localhost only"
    if any(origin != b"http://" + hosts[0] for origin in origins):
        return "this server takes nothing from pages of other origins"
    return None


def _confined(send: Send, path: str) -> Send:
    policy = _REPORTS if path.startswith(PREFIX) else _PAGES

    async def with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Content-Security-Policy"] = policy
        await send(message)

    return with_header
