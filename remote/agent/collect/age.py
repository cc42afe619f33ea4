"""How old a folder is, without a wall clock: a board without a battery starts in 1970, and jumps later."""

import time

from ..safe_files import read_object, read_text, replace_json
from ..strict_json import is_number


def age_of(path: str, least: int = 0) -> int:
    """Seconds that the board was up since the file was first asked for; it is read, and written again. Hold the
    folder's lock. Of each time that the board was up, what came after the last question is not counted.

    Args:
        least: Where a file that was lost goes on.
    """
    known = read_object(path)
    up, boot = time.monotonic(), read_text("/proc/sys/kernel/random/boot_id")
    seconds = float(least)
    if all(is_number(known.get(name)) for name in ("seconds", "up")):
        seconds = max(known["seconds"] + max(up - (known["up"] if boot == known.get("boot") else 0.0), 0.0), seconds)
    # not flushed: what a power cut takes is made up for by `least`
    replace_json(path, {"seconds": seconds, "up": up, "boot": boot})
    return int(seconds)
