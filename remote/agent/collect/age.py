"""How old a folder is, by clocks that cannot be trusted: a board without a battery starts in 1970, and jumps later.

Age only rises: while the board is up at least as the monotonic clock does, over a restart by what the wall clock has
advanced. A clock that jumps ahead makes things older than they are: they are removed too early, never too late.
"""

import time

from ..safe_files import read_object, read_text, replace_json
from ..strict_json import is_number


def age_of(path: str, least: int = 0) -> int:
    """Seconds since the file was first asked for; it is read, and written again. Hold the folder's lock.

    Args:
        least: Where a file that was lost goes on.
    """
    known = read_object(path)
    wall, up, boot = time.time(), time.monotonic(), read_text("/proc/sys/kernel/random/boot_id")
    seconds = float(least)
    if all(is_number(known.get(name)) for name in ("seconds", "wall", "up")):
        passed = max(wall - known["wall"], up - known["up"] if boot == known.get("boot") else 0.0, 0.0)
        seconds = max(known["seconds"] + passed, seconds)
    # not flushed: what a power cut takes is made up for by `least`
    replace_json(path, {"seconds": seconds, "wall": wall, "up": up, "boot": boot})
    return int(seconds)
