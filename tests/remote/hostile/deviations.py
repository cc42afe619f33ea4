"""What a case makes of an honest conversation: the acts of one command, in their order."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Union

#: One act: its name, and what it takes. ``write`` and ``stderr`` take bytes, ``wait`` seconds, ``exit`` a code,
#: ``signal`` a name; ``repeat`` and ``stderr_repeat`` take bytes, a pause in seconds and a number of times (-1 for
#: ever), ``drip`` bytes and a pause; ``packet`` takes a message type and its bytes, ``packets`` a number of times as
#: well; ``upload``, ``ignore``, ``deaf``, ``silence``, ``eof``, ``close``, ``abort``, ``unbound``, ``rekey`` nothing.
Act = tuple[Any, ...]
Event = dict[str, Any]

#: The place in a conversation where what the workstation sends is read.
UPLOAD: Event = {"event": "@upload"}


@dataclass(frozen=True)
class Deviation:
    """How one command deviates from what the agent says.

    Attributes:
        step: The command (``place`` for the agent's file), or ``connect``: below SSH, or while it is set up.
        kind: What is done; see ``_KINDS``, ``tcp_relay`` and ``server``.
        at: Which event, or which byte, as a number that is taken modulo how many there are.
        place: Which value of that event, in the same way.
        value: JSON text that takes its place, or other text that the kind needs.
        count: How often, or how much.
    """

    step: str
    kind: str
    at: int = 0
    place: int = 0
    value: str = "null"
    count: int = 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def acts(events: Sequence[Event], deviation: Union[Deviation, None]) -> list[Act]:
    """The conversation as acts; changed where a deviation is given."""
    honest = [_said(event) for event in events]
    if deviation is None or deviation.kind not in _KINDS:
        return [*honest, ("exit", 0)]
    return _KINDS[deviation.kind](list(events), honest, deviation)


def _said(event: Event) -> Act:
    return ("upload",) if event is UPLOAD else ("write", json.dumps(event, sort_keys=True).encode() + b"\n")


def _place(events: Sequence[Any], at: int) -> int:
    return at % max(len(events), 1)


# values of one event


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of every value in a JSON value, its own (the empty one) included."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(inner, (*path, key))


_MARK = "@@here@@"


def _changed(event: Event, deviation: Deviation) -> bytes:
    """The event's line with one value replaced, dropped, or doubled."""
    copy = json.loads(json.dumps(event))
    paths = list(nodes(copy))[1:]
    path = paths[deviation.place % len(paths)]
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    if deviation.kind == "field":
        holder[path[-1]] = _MARK
        return json.dumps(copy).replace(json.dumps(_MARK), deviation.value, 1).encode("utf-8", "surrogatepass")
    if deviation.kind == "without":
        del holder[path[-1]]
        return json.dumps(copy).encode()
    extra = f"{json.dumps(str(path[-1]))}: {deviation.value}"
    if deviation.kind == "additional":
        extra = f"{json.dumps('x' + chr(27) + ']0;x' + str(deviation.place))}: {deviation.value}"
    folder = holder if isinstance(holder, dict) else copy
    text = json.dumps(folder)
    doubled = text[:-1] + (", " if folder else "") + extra + "}"
    return json.dumps(copy).replace(text, doubled, 1).encode("utf-8", "surrogatepass")


def _in_event(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    spoken = [index for index, event in enumerate(events) if event is not UPLOAD]
    index = spoken[_place(spoken, deviation.at)]
    honest[index] = ("write", _changed(events[index], deviation) + b"\n")
    return [*honest, ("exit", 0)]


# the order and number of events


def _order(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    index = _place(honest, deviation.at)
    other = _place(honest, deviation.place)
    if deviation.kind == "swapped":
        honest[index], honest[other] = honest[other], honest[index]
    elif deviation.kind == "repeated":
        honest[index : index + 1] = [honest[index]] * (1 + deviation.count)
    elif deviation.kind == "left_out":
        del honest[index]
    elif deviation.kind == "inserted":
        honest[index:index] = [("write", deviation.value.encode("utf-8", "surrogatepass") + b"\n")] * deviation.count
    return [*honest, ("exit", 0)]


# samples and what is needed


def _samples(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    """The samples of a verification altered together, under a result that says that they agree."""
    shown = [event for event in events if event.get("event") == "sample"]
    rest = [event for event in events if event.get("event") != "sample"]
    rng = random.Random(deviation.place)
    if deviation.value == "none":
        shown = []
    elif deviation.value == "empty":
        shown = [{**event, "boxes": [], "labels": [], "scores": []} for event in shown]
    elif deviation.value == "missing":
        shown = shown[:-1]
    elif deviation.value == "extra":
        shown = [*shown, {**shown[-1], "file": "samples/extra.npy"}]
    elif deviation.value == "reversed":
        shown = shown[::-1]
    elif deviation.value == "exchanged":
        names = [event["file"] for event in shown]
        shown = [{**event, "file": name} for event, name in zip(shown[::-1], names)]
    elif deviation.value == "shifted":
        shown = [{**event, "boxes": [[side + 0.05 for side in box] for box in event["boxes"]]} for event in shown]
    elif deviation.value == "relabelled":
        shown = [{**event, "labels": [label + 1 for label in event["labels"]]} for event in shown]
    elif deviation.value == "rescored":
        shown = [{**event, "scores": [max(0.0, score - 0.1) for score in event["scores"]]} for event in shown]
    elif deviation.value == "crowded":
        many = deviation.count
        crowd = {"boxes": [[0.0, 0.0, 1.0, 1.0]] * many, "labels": [1] * many, "scores": [0.9] * many}
        shown = [{**event, **crowd} for event in shown]
    elif deviation.value == "random":
        for event in shown:
            event["scores"] = [rng.random() for _ in event["scores"]]
    return [*map(_said, [*rest[:-1], *shown, rest[-1]]), ("exit", 0)]


#: What a board may ask for that is none of its business.
PATHS = (
    "../../keys/signing_key",
    "../secret",
    "/etc/shadow",
    "manifest.json",
    "manifest.sig",
    "model.onnx/../../secret",
    "model.onnx\0",
    "./model.onnx",
    "C:\\secret",
    "-rf",
    "x" * 600,
    "",
)


def _needs(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    need = json.loads(json.dumps(events[0]))
    files = need["files"]
    one = files[_place(files, deviation.at)]
    if deviation.value == "path":
        one["path"] = PATHS[deviation.place % len(PATHS)]
    elif deviation.value == "also":
        files.append({**one, "path": PATHS[deviation.place % len(PATHS)]})
    elif deviation.value == "twice":
        files.extend([dict(one)] * deviation.count)
    elif deviation.value == "larger":
        one["size"] += deviation.count
    elif deviation.value == "smaller":
        one["size"] -= min(one["size"], deviation.count)
    elif deviation.value == "offset":
        one["offset"] = deviation.count
    elif deviation.value == "behind":
        one["offset"] = one["size"] + deviation.count
    elif deviation.value == "negative":
        one["offset"] = -deviation.count
    elif deviation.value == "sha256":
        one["sha256"] = "0" * 64
    elif deviation.value == "begins":
        one.update(offset=one["size"] // 2, begins="f" * 64)
    elif deviation.value == "thousands":
        need["files"] = [{**one, "path": f"file-{number}"} for number in range(deviation.count)]
    elif deviation.value == "nothing":
        need["files"] = []
    return [_said(need), *honest[1:], ("exit", 0)]


# bytes that are no events


def _noise(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    index = _place(honest, deviation.at)
    rng = random.Random(deviation.place)
    size = deviation.count
    noise: dict[str, list[Act]] = {
        "binary": [("write", rng.randbytes(size))],
        "no_end": [("write", b"{" + b"x" * size)],
        "long_line": [("write", b'{"event": "heartbeat", "note": "' + b"x" * size + b'"}\n')],
        "long_print": [("write", b"x" * size + b"\n")],
        "newlines": [("write", b"\n" * size)],
        "prints": [("write", b"Last login: \x1b]0;owned\x07 from nowhere\n" * size)],
        "nested": [("write", b'{"event":' * size + b"\n")],
        "lists": [("write", b'{"event": ' + b"[" * size + b"\n")],
        "digits": [("write", b'{"event": "progress", "step": "x", "done": ' + b"9" * size + b"}\n")],
        "utf16": [("write", '{"event": "heartbeat"}\n'.encode("utf-16"))],
        "half": [("write", b'{"event": "progress", "ste')],
        "carriage": [("write", b'{"event": "heartbeat"}\r\n' * 3)],
        "stderr": [("stderr", b"\x1b[2J\x1b]52;c;aGk=\x07" + b"e" * size)],
    }[deviation.value]
    drops = deviation.value in ("half", "no_end", "binary") and deviation.place % 2
    end: list[Act] = [("abort",)] if drops else [*honest[index:], ("exit", 0)]
    return [*honest[:index], *noise, *end]


def _dripped(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    index = _place(honest, deviation.at)
    line = honest[index][1] if honest[index][0] == "write" else b"{}\n"
    return [*honest[:index], ("drip", line, deviation.count / 1000), *honest[index + 1 :], ("exit", 0)]


# waits


def _waits(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    index = _place(honest, deviation.at)
    wait: list[Act] = {
        "silence": [("silence",)],
        "heartbeats": [("repeat", b'{"event": "heartbeat", "step": "x"}\n', 0.1, -1)],
        "fast_heartbeats": [("repeat", b'{"event": "heartbeat"}\n' * 50, 0.0, -1)],
        "progress": [("repeat", b'{"event": "progress", "step": "build", "note": "soon"}\n', 0.2, -1)],
        "prints": [("repeat", b"please wait\n", 0.1, -1)],
        "bytes": [("repeat", b"x", 0.1, -1)],
        "stderr": [("stderr_repeat", b"warning " * 8192, 0.0, -1)],
        "deaf": [("deaf",)],
        "pause": [("wait", deviation.count / 1000)],
    }[deviation.value]
    return [*honest[:index], *wait, *honest[index:], ("exit", 0)]


# how a command ends


def _ends(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    index = _place([*honest, None], deviation.at)
    end: list[Act] = {
        "exit": [("exit", deviation.count % 256)],
        "large_exit": [("exit", 0xFFFFFFFF)],
        "signal": [("signal", "KILL")],
        "strange_signal": [("signal", "\x1b]0;owned\x07@jetlane")],
        "eof": [("eof",), ("silence",)],
        "close": [("close",)],
        "abort": [("abort",)],
        "error": [("write", _error(deviation)), ("exit", 1)],
        "complains": [("stderr", "\x1b[2J\u202eevil \udcff\n".encode("utf-8", "surrogatepass") * 20), ("exit", 127)],
        "after": [*honest[index:], ("repeat", b'{"event": "result"}\n', 0.0, deviation.count), ("exit", 0)],
    }[deviation.value]
    return [*honest[:index], *end]


#: Kinds of error that only the workstation may find, then those that it acts on.
KINDS = (
    *("unreachable", "host_key", "auth", "protocol", "deadline", "python", "\x1b[2J", ""),
    *(
        "agent",
        "busy",
        "cut",
        "unhealthy",
        "disk",
        "unverified",
        "corrupt",
        "tampered",
        "disagreement",
        "bug",
        "failed",
    ),
)


def _error(deviation: Deviation) -> bytes:
    """An ``error`` event whose words are the deviation's; ``what`` may hold anything that fits a string."""
    kind = KINDS[deviation.place % len(KINDS)]
    words = "\x1b]52;c;aGk=\x07\x1b[2J\r\x9b31m\u202egnp.exe\ud800[/red][bold]<script>alert(1)</script>:smile:\n"
    event = {"event": "error", "what": words, "why": words * 40, "remedy": words, "kind": kind}
    return json.dumps(event).encode() + b"\n"


# packets


def _packets(events: list[Event], honest: list[Act], deviation: Deviation) -> list[Act]:
    """What SSH itself allows, or not, in the middle of a command."""
    index = _place(honest, deviation.at)
    text = b"\x1b]0;owned\x07" + (b"\xff\xfe" if deviation.place % 2 else b"\xe2\x80\xae")
    string = len(text).to_bytes(4, "big") + text
    sent: list[Act] = {
        "unbound": [("unbound",), ("repeat", b"x" * 32768, 0.0, -1)],
        "unbound_stderr": [("unbound",), ("stderr_repeat", b"x" * 32768, 0.0, -1)],
        "unbound_deaf": [("ignore",), ("unbound",), ("repeat", b"x\n" * 16384, 0.0, -1)],
        "rekey": [("rekey",)] * min(deviation.count, 20),
        "stuck_rekey": [("packet", 20, bytes(8)), ("silence",)],
        "ignore": [("packets", 2, string, deviation.count)],
        "debug": [("packets", 4, b"\1" + string + string, deviation.count)],
        "disconnect": [("packet", 1, (11).to_bytes(4, "big") + string + string)],
        "unknown": [("packet", 200 + deviation.place % 56, b"")],
        "empty_data": [("packet", 94, b"")],
        "wrong_channel": [("packet", 94, (77).to_bytes(4, "big") + string)],
        "open": [("packets", 90, (7).to_bytes(4, "big") + b"session" + bytes(12), deviation.count)],
        "forward": [("packet", 90, (15).to_bytes(4, "big") + b"forwarded-tcpip" + bytes(12))],
        "global": [("packets", 80, string + b"\1", deviation.count)],
        "adjust": [("packet", 93, b"\xff" * 8)],
        "kexinit": [("packet", 20, b"\xff" * 40)],
    }[deviation.value]
    return [*honest[:index], *sent, *honest[index:], ("exit", 0)]


_KINDS = {
    **dict.fromkeys(("field", "without", "additional", "doubled"), _in_event),
    **dict.fromkeys(("swapped", "repeated", "left_out", "inserted"), _order),
    "samples": _samples,
    "needs": _needs,
    "noise": _noise,
    "dripped": _dripped,
    "waits": _waits,
    "ends": _ends,
    "packets": _packets,
}
