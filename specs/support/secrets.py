"""Addresses that hold a secret: a password before the ``@``, a token or key among the parameters.

A spec and an inventory are shown: in reports, in Prefect's database, in ``jetlane spec check``. So what is secret does
not belong there, in whatever key it stands.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional, Union
from urllib.parse import unquote_plus

from jetlane.specs.errors import SpecError

if TYPE_CHECKING:
    from jetlane.specs.support.yaml_marks import Location, MarkedYaml

HIDDEN = "[hidden]"

#: An address has a few of these (fsspec chains protocols), and is no longer than this.
_SCHEMES, _LONGEST = 20, 20_000
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_WEB = ("http", "https", "ws", "wss")
#: ``user:password@`` as SQLAlchemy reads it: the user ends at the first colon, the password may hold anything.
_USER = re.compile(r"[^:/]*?(?::|%3A)", re.IGNORECASE)
#: What code hosts and registries hand out; it stands where a user's name would.
_TOKEN = re.compile(r"(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hf_|dckr_pat_|npm_|pypi-)[^@:/\s]+(?=[@:])")
#: No user of a web site has such a name: long, of letters and digits alone, or in front of what stands for no password.
_RANDOM = re.compile(r"(?=\D*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{20,}(?=[@:])|[^@:/\s]+(?=:(?:x-oauth-basic)?@)")
_PORT = re.compile(r"\d{1,5}(?=[/?#])")
_PAIR = re.compile(r"(?:^|[?&;#\s])([A-Za-z0-9_.%-]+)\s*=\s*('[^']*'|\"[^\"]*\"|[^&;#\s]+)")
#: Looked for in a name without its punctuation, in lower case.
_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token(?!i)|apikey|accesskey|accountkey|privatekey|sharedkey|credential|authorization"
    r"|signature|^(?:pw|key|sig|sas|auth|jwt)$|(?:^|user|db)pass$"
)
#: Names of files, which are no secrets: ``passfile``, ``sslkey``, ``token_path``.
_FILE = re.compile(r"(?:file|path|dir|folder)$|^sslkey$")
#: The plainest of all that in JSON Schema's words, for validators that know the schema of a spec alone.
PATTERN = (
    r"://[^/:@]*:[^@]+@"
    r"|[?&;][A-Za-z0-9_.-]*([Pp]ass[Ww]|[Pp]wd|[Ss]ecret|[Tt]oken=|[Aa]cc(ess|ount)_?[Kk]ey|[Ss]ignature)"
)
_REMEDY = {
    "ledger": (
        "keep the password in ~/.pgpass or PGPASSWORD, or the whole URL in the environment variable JETLANE_LEDGER; for"
        " runs of a work pool, set that variable from a Prefect Secret block: see docs/fleet.md"
    ),
    "store": (
        "keep it in the environment of the process that reads the store (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,"
        " FSSPEC_S3_SECRET, ...; for runs of a work pool from a Prefect Secret block), or in the driver's own file:"
        " see docs/fleet.md"
    ),
    "": "leave it out; keep it in an environment variable, or in a file that its reader alone can read",
}


def secret_in(address: str) -> str:
    """Which part of an address is secret, in words; empty when none is."""
    return next((what for _, _, what in _spans(address)), "")


def values_in(address: str) -> set[str]:
    """The secrets of an address, as they stand there and decoded; a driver's error may hold either, or a part."""
    found = set()
    for start, end, _ in _spans(address):
        value = address[start:end]
        found |= {value, unquote_plus(value), *value.split("@")}
    return found - {""}


def hide(text: str) -> str:
    """Any text, without the secrets of the addresses in it; an address ends at white space."""
    if "://" not in text:
        return text
    return re.sub(r"\S+", lambda word: shown(word.group()), text)


def shown(address: str) -> str:
    """One whole address without its secrets, which may have white space in them."""
    kept, last = [], 0
    for start, end, _ in sorted(_spans(address) if "://" in address else ()):
        if end > last:
            kept += [address[last : max(start, last)], HIDDEN]
            last = end
    return "".join(kept) + address[last:]


def message(key: Union[str, int], what: str) -> str:
    """The message about an address under a key; the secret is not in it."""
    return f"holds {what}, and a spec is shown in reports and in Prefect; {_REMEDY.get(str(key), _REMEDY[''])}"


def refuse(data: Any, marked: Optional[MarkedYaml] = None) -> None:
    """Accept parsed YAML, of whatever schema, only without addresses that hold a secret.

    Args:
        marked: The file that it came from.

    Raises:
        SpecError: Naming every one, with file, line and column, and what it is; the secret is not in it.
    """
    found = [(marked.where(at) if marked is not None else None, text) for at, text in _found(data)]
    if found:
        (where, first), rest = found[0], found[1:]
        more = "".join(f"\n{place}: {text}" if place else f"\n{text}" for place, text in rest)
        raise SpecError(first + more, where=where)


def _found(data: Any) -> Iterator[tuple[Location, str]]:
    todo: deque[tuple[Location, Any]] = deque([((), data)])
    seen: set[int] = set()
    while todo:
        here, value = todo.popleft()
        if isinstance(value, (Mapping, list, tuple)):
            if id(value) in seen:  # YAML's aliases: what was looked at once, or holds itself
                continue
            seen.add(id(value))
        if isinstance(value, Mapping):
            todo += [((*here, key), key) for key in value if isinstance(key, str)]
            todo += [((*here, key), item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            todo += [((*here, index), item) for index, item in enumerate(value)]
        elif isinstance(value, str):
            key = here[-1] if here else ""
            what = secret_in(value) if "://" in value or key in _REMEDY else ""
            if what:
                yield here, f"{hide('.'.join(map(str, here)))}: {message(key, what)}"


def is_secret_name(name: str) -> bool:
    """Whether a parameter of that name is secret."""
    plain = re.sub(r"[^a-z0-9]", "", unquote_plus(name).lower())
    return bool(_NAME.search(plain)) and not _FILE.search(plain)


def _spans(address: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, what) of each secret in one address, or in the ``name=value`` pairs of one without ``://``."""
    text = address[:_LONGEST]
    marks = [mark for mark, _ in zip(re.finditer("://", text), range(_SCHEMES))]
    for mark in marks:
        scheme = _SCHEME.search(text, max(0, mark.start() - 40), mark.start())
        yield from _password(text, mark.end(), bool(scheme and scheme.group().lower() in _WEB))
    yield from _parameters(text, marks[0].end() if marks else 0)


def _password(text: str, start: int, web: bool) -> Iterator[tuple[int, int, str]]:
    token = _TOKEN.match(text, start) or (_RANDOM.match(text, start) if web else None)
    if token is not None:
        yield token.start(), token.end(), "a token"
    user = _USER.match(text, start)
    if user is None or (web and _PORT.match(text, user.end())):  # http://host:8080/package@1
        return
    last = text.rfind("@", user.end())
    if last > user.end():
        yield user.end(), last, "a password"


def _parameters(text: str, start: int) -> Iterator[tuple[int, int, str]]:
    for pair in _PAIR.finditer(text, start):
        if is_secret_name(pair.group(1)):
            yield pair.start(2), pair.end(2), f"a secret ({unquote_plus(pair.group(1))})"
