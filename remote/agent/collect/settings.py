"""What the board's owner lets programs keep: the section ``collect`` of config.json. Without it nothing is kept.

No release and no request of a workstation can switch it on: what a camera sees belongs to the owner of the board.
"""

import os
from typing import Any, Dict, NamedTuple, Optional, Tuple

from .. import device_config
from ..errors import AgentError
from ..strict_json import is_number, is_whole

#: The owner's settings.
#:
#: score_band: Lowest and highest score of a detection that is uncertain.
#: flicker: Frames count in which a sure object is gone, or of another class, for one frame.
#: random: Share of all frames, 0 to 1, that count whatever is in them.
#: interval_s: Least seconds between two frames that are kept of one program.
#: quota: Bytes that all of them may take on the disk.
#: days: Days after which a frame is removed.
#: masked: Nothing is kept of a program that gives no mask.
Settings = NamedTuple(
    "Settings",
    [
        ("score_band", Tuple[float, float]),
        ("flicker", bool),
        ("random", float),
        ("interval_s", float),
        ("quota", int),
        ("days", float),
        ("masked", bool),
    ],
)
#: What ``"collect": {}`` says.
USUAL = Settings((0.3, 0.6), True, 0.0, 10.0, 200 * 1000 * 1000, 14.0, False)


def read(root: str) -> Optional[Settings]:
    """The settings of a board; None where its owner wants nothing kept.

    Args:
        root: The agent's folder.

    Raises:
        AgentError: They cannot be understood; kind ``config``.
    """
    section = device_config.read(os.path.join(root, "config.json")).get("collect")
    if section is None or section is False:
        return None
    if not isinstance(section, dict):
        raise _wrong("it is no JSON object")
    return _checked(section)


def _checked(section: Dict[str, Any]) -> Settings:
    unknown = sorted(set(section) - set(Settings._fields))
    if unknown:
        raise _wrong("%r is not known; there are %s" % (unknown[0], ", ".join(Settings._fields)))
    made = USUAL._replace(**section)
    band = made.score_band
    pair = isinstance(band, (list, tuple)) and len(band) == 2 and all(map(is_number, band))
    sound = {
        "score_band": pair and 0.0 <= band[0] <= band[1] <= 1.0,
        "flicker": isinstance(made.flicker, bool),
        "random": is_number(made.random) and 0.0 <= made.random <= 1.0,
        "interval_s": is_number(made.interval_s) and made.interval_s >= 0.0,
        "quota": is_whole(made.quota) and made.quota >= 0,
        "days": is_number(made.days) and made.days > 0.0,
        "masked": isinstance(made.masked, bool),
    }
    for name in Settings._fields:
        if not sound[name]:
            raise _wrong("`%s` cannot be %r" % (name, section[name]))
    return made._replace(score_band=(float(band[0]), float(band[1])))


def _wrong(why: str) -> AgentError:
    return AgentError("`collect` in config.json on the board is wrong", why, "correct it, or delete it", "config")
