"""The process of a Prefect server: ``python -m jetlane.flows.serving.server_process lasting|private PORT``.

Both kinds listen on loopback alone, behind ``LoopbackFilter``, and keep what they write to their owner. Login, home and
database come by environment: a command line can be read by every user. A private server ends when its standard input
closes, so it never outlives the run that started it, however that run ended.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Serve until standard input closes (``private``), or until a signal (``lasting``)."""
    os.umask(0o077)
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "private":
        end_with_parent()
    import uvicorn
    from prefect.server.api.server import create_app

    from jetlane.flows.serving.first_database import prepare
    from jetlane.flows.serving.loopback_filter import LoopbackFilter
    from jetlane.flows.serving.ports import listening
    from jetlane.flows.serving.shared_reports import SharedReports

    home = Path(os.environ["PREFECT_HOME"])
    prepare(home)
    # Schedules, late runs and clean-up are the business of a lasting server (`jetlane up`).
    app = create_app(webserver_only=kind == "private", final=True)
    served = LoopbackFilter(SharedReports(app, home) if kind == "lasting" else app)
    settings = uvicorn.Config(served, log_level="warning", proxy_headers=False, timeout_graceful_shutdown=2)
    uvicorn.Server(settings).run(sockets=[listening(port)])


def end_with_parent() -> None:
    """From here on, this process ends when its standard input closes."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
