"""The process of a run's private Prefect server: ``python -m jetlane.flows.private_server PORT``.

It ends when its standard input closes, so it never outlives the run that started it, however that run ended.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Serve Prefect's API on a loopback port until standard input closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    # Schedules, late runs and clean-up are the business of a lasting server (`jetlane up`).
    app = create_app(webserver_only=True, final=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=2)


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
