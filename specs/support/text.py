"""Text that others wrote, made harmless for terminals, tables and pages, once, where it enters.

A board, an inventory, a label map or a spec can hold anything: escape sequences that write to the clipboard or the
window's title (OSC 52, OSC 0), characters that turn the reading direction around (Unicode TR36, "bidirectional text
spoofing"), lone surrogates that no file can be written with. None of it is dropped: a person who looks for the cause
sees it, escaped.
"""

from __future__ import annotations

import unicodedata

#: Characters of a single line from a board, a label or a name.
LINE = 500
#: Characters of a longer text: a log's end, a traceback.
TEXT = 8000

#: Invisible format characters that scripts and emoji need: zero-width non-joiner and joiner.
_NEEDED = "\u200c\u200d"
_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def counted(number: object, thing: str) -> str:
    """``1 device``, ``2 devices``, ``2 boxes``; a whole number without a decimal point."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    ending = "" if number == 1 else "es" if thing.endswith(("s", "x", "ch")) else "s"
    return f"{number} {thing}{ending}"


def human_size(count: float) -> str:
    """Bytes as people read them: ``900 B``, ``17.6 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def harmless(text: object, limit: int = LINE, lines: bool = False) -> str:
    """The text with every control, format, surrogate and line-separating character shown as its escape.

    Args:
        text: Anything; what is not a string is shown as Python shows it.
        limit: Longest result in characters; of what is longer the end tells how much was cut.
        lines: Keep line feeds and tabs, for texts of several lines; else they are escaped too.

    Returns:
        Text that is printable, can be encoded as UTF-8, and does not move a cursor. Doing it twice changes nothing.
    """
    whole = text if isinstance(text, str) else str(text)
    if not (whole.isascii() and whole.isprintable()):
        # no more than can be shown is looked at: a text may be a megabyte
        whole = "".join(_shown(character, lines) for character in whole[: limit + 1]) + whole[limit + 1 :]
    if len(whole) <= limit:
        return whole
    end = f"… ({len(whole) - limit} characters more)"
    return whole[: max(0, limit - len(end))] + end


def is_harmless(text: str, lines: bool = False) -> bool:
    """Whether ``harmless`` would leave a text as it is, however long."""
    return (text.isascii() and text.isprintable()) or all(_shown(character, lines) == character for character in text)


def _shown(character: str, lines: bool) -> str:
    if (lines and character in "\n\t") or character in _NEEDED:
        return character
    if unicodedata.category(character) not in _ESCAPED:
        return character
    code = ord(character)
    if code < 0x100:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
