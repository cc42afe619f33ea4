"""Short waits on boards: for the tests of this process, and as a program for whole commands.

``python -m tests.remote.hostile.short_waits SILENCE LIMIT ARGUMENTS...`` is ``jetlane ARGUMENTS...`` with such waits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def shorten_waits(put: Callable[[Any, str, Any], None], silence: float, limit: float) -> None:
    """Put short waits in the place of the usual ones.

    Args:
        put: Called with a module, a name and a value, as ``setattr`` is.
        silence: Seconds after which a silent board is given up, and for each step of connecting.
        limit: Seconds of each stage.
    """
    from jetlane.remote.device import client as device
    from jetlane.remote.device import delivery
    from jetlane.remote.fleet import device_jobs
    from jetlane.remote.ssh import connection as ssh
    from jetlane.remote.ssh import login, transfer, watchdog

    for module in (ssh, login):
        put(module, "SILENCE", silence)
    put(login, "CONNECT", silence)
    put(ssh, "OPEN", silence)
    for name in ("LOGIN", "PLACING"):
        put(ssh, name, limit)
    put(ssh, "_POLL", 0.1)
    put(transfer, "_AROUND", limit)
    for module in (ssh, transfer):
        put(module, "SLOWEST", 1 << 30)
    put(device, "LIMITS", dict.fromkeys(device.LIMITS, limit))
    put(delivery, "LIMITS", device.LIMITS)
    put(watchdog, "_TICK", 0.05)
    put(device_jobs, "PATIENCE", 0.0)


if __name__ == "__main__":
    from jetlane.flows.cli.main import main

    shorten_waits(setattr, float(sys.argv[1]), float(sys.argv[2]))
    main(sys.argv[3:])
