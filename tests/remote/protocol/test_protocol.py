"""The boundary to a board: what its agent says is taken, anything else is refused with the reason and what it said."""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.remote import agent
from jetlane.remote.agent.commands import probe
from jetlane.remote.agent.store import Store
from jetlane.remote.protocol.dialogue import BURST, LONGEST_LINE, MOST_BYTES, MOST_SHOWN, RATE, Dialogue, LineReader
from jetlane.remote.protocol.events import Failure, Heartbeat, Kind, Need, Progress, Sample, WholeFrame
from jetlane.remote.protocol.results import Built, Facts, Healthy, KeptFrames, plain
from jetlane.specs.errors import BoardError

AGENT = Path(agent.__file__).parent
SHA = "0" * 64
NEEDED = {"path": "model.onnx", "offset": 0, "size": 9, "sha256": SHA}
SAMPLE = {"event": "sample", "file": "samples/0.npy", "boxes": [[0, 0.1, 1, 1.5]], "labels": [1], "scores": [0.9]}
BUILT = {"event": "result", "engine": "0f", "backend": "cpu", "precision": "fp32", "cached": False, "attached": False}
BUILT.update(seconds=1.5, size=3)


class Turned:
    """A clock that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def line(event: Any) -> bytes:
    return json.dumps(event).encode()


def refused(dialogue: Dialogue, said: bytes) -> str:
    """Why a line is refused; the error names the board and quotes what it said."""
    with pytest.raises(BoardError) as caught:
        dialogue.take(said)
    assert caught.value.what.startswith("nano: ") and caught.value.kind == "protocol" and caught.value.remedy
    assert len(str(caught.value)) < 2000 and not harmful(str(caught.value))
    return caught.value.why


def harmful(text: str) -> str:
    """The characters that move a cursor or turn a reading direction; those that no file can hold."""
    return "".join(c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp"))


@pytest.mark.parametrize(
    ("command", "said", "word"),
    [
        ("build", {"event": "heartbeat"}, Heartbeat),
        ("build", {"event": "heartbeat", "step": "build", "seconds": 3, "note": "layer 3"}, Heartbeat),
        ("receive", {"event": "progress", "step": "receive", "path": "a/b.npy", "size": 1 << 40}, Progress),
        ("receive", {"event": "need", "files": []}, Need),
        ("receive", {"event": "need", "files": [{**NEEDED, "offset": 4, "begins": SHA}]}, Need),
        ("status", SAMPLE, Sample),
        ("build", {"event": "error", "what": "it failed", "why": "line\nline", "kind": "disk"}, Failure),
        ("build", BUILT, Built),
        (
            "health",
            {"event": "result", "release": "m-" + "0" * 12, "healthy": True, "checked": "engine", "answers": 3}
            | {"printed": ""},
            Healthy,
        ),
    ],
)
def test_what_the_agent_says_is_taken(command: str, said: dict[str, Any], word: type) -> None:
    assert type(Dialogue("nano", command).take(line(said))) is word


@pytest.mark.parametrize("said", [b"", b"Last login: today", b"\xff\xfe", b"[1, 2]", b'"result"', b"null"])
def test_what_a_login_script_prints_is_passed_over(said: bytes) -> None:
    assert Dialogue("nano", "build").take(said) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"{", "it is not JSON"),
        (b'{"event": "heartbeat"} x', "it is not JSON"),
        (b'{"event": "heartbeat", "seconds": NaN}', "it is not JSON"),
        (b'{"event": "heartbeat", "seconds": -Infinity}', "it is not JSON"),
        (b'{"event": "heartbeat", "note": "\xff"}', "it is not JSON"),
        (b'{"event": ' + b"[" * 100_000, "it is not JSON"),
        (b"{}", "event"),
        (b'{"event": "phase", "phase": "build"}', "heartbeat"),
        (b'{"event": null}', "event"),
        (b'{"event": ["heartbeat"]}', "event"),
        (b'{"event": "\\ud800"}', "does not match any"),
        (b'{"event": "heartbeat", "seconds": "3"}', "seconds"),
        (b'{"event": "heartbeat", "seconds": true}', "seconds"),
        (b'{"event": "heartbeat", "seconds": 1e400}', "seconds"),
        (b'{"event": "heartbeat", "seconds": 1e20}', "seconds"),
        (b'{"event": "heartbeat", "seconds": ' + b"9" * 400 + b"}", "seconds"),
        (b'{"event": "heartbeat", "more": 1}', "more"),
        (b'{"event": "heartbeat", "\\u001b[2J": 1}', r"\x1b[2J"),
        (b'{"event": "heartbeat", "step": "\\u001b[2J"}', "step"),
        (b'{"event": "heartbeat", "step": "build\\n"}', "step"),
        (b'{"event": "progress", "step": "a", "done": -1}', "done"),
        (b'{"event": "progress", "step": "a", "done": 1.5}', "done"),
        (b'{"event": "progress", "step": "a", "done": 9007199254740993}', "done"),
        (b'{"event": "progress"}', "step"),
        (b'{"event": "error"}', "what"),
        (b'{"event": "error", "what": "x", "kind": "unreachable"}', "kind"),
        (b'{"event": "error", "what": "x", "kind": "host_key"}', "kind"),
        (b'{"event": "error", "what": {"deep": 1}}', "what"),
        (b'{"event": "result"}', "engine"),
        (line({**BUILT, "engine": "../x"}), "engine"),
        (line({**BUILT, "backend": "mine"}), "backend"),
        (line({**BUILT, "cached": 1}), "cached"),
        (line({**BUILT, "more": 1}), "more"),
        (line({"event": "need", "files": []}), "nothing is to be needed here"),
        (line(SAMPLE), "no sample is to be shown here"),
    ],
)
def test_anything_else_is_refused_with_the_reason(said: bytes, why: str) -> None:
    assert why in refused(Dialogue("nano", "build"), said)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/etc/shadow"},
        {"path": "../x"},
        {"path": ""},
        {"path": "a\0"},
        {"path": "a" * 600},
        {"path": None},
        {"offset": -1},
        {"offset": 0.5},
        {"size": 1 << 60},
        {"sha256": SHA[1:]},
        {"sha256": SHA + "\n"},
        {"begins": ""},
        {"more": 1},
    ],
)
def test_a_need_is_of_plain_paths_and_whole_sizes(change: dict[str, Any]) -> None:
    assert "need.files.0" in refused(Dialogue("nano", "receive"), line({"event": "need", "files": [NEEDED | change]}))


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": []},
        {"labels": [1, 1]},
        {"scores": [1.5]},
        {"scores": [-0.1]},
        {"scores": [True]},
        {"labels": [-1]},
        {"labels": [1 << 40]},
        {"labels": [1.0]},
        {"boxes": [[0, 0, 1]]},
        {"boxes": [[0, 0, 1, 1e9]]},
        {"boxes": [[0, 0, 1, None]]},
        {"file": "/x"},
    ],
)
def test_a_sample_is_of_boxes_labels_and_scores_of_one_number(change: dict[str, Any]) -> None:
    assert "sample" in refused(Dialogue("nano", "verify", samples=["samples/0.npy"]), line({**SAMPLE, **change}))


def test_no_word_comes_twice_or_out_of_its_order() -> None:
    need, done = line({"event": "need", "files": []}), line(BUILT)
    receiving = Dialogue("nano", "receive")
    receiving.take(need)
    assert "nothing is to be needed" in refused(receiving, need)
    receipt = {"event": "result", "release": "m-" + "0" * 12, "received": 0, "bytes": 0, "kept": 0, "signed": False}
    assert "did not say what it needs" in refused(Dialogue("nano", "receive"), line({**receipt, "key": None}))
    building = Dialogue("nano", "build")
    building.take(done)
    for further in (done, line({"event": "heartbeat"}), b"bye"):
        assert "went on after its last word" in refused(building, further)
    failed = Dialogue("nano", "build")
    failed.take(line({"event": "error", "what": "x"}))
    assert "went on after its last word" in refused(failed, done)


def test_samples_are_those_of_the_release_in_its_order() -> None:
    first, second = ({**SAMPLE, "file": f"samples/{number}.npy"} for number in range(2))
    names = [first["file"], second["file"]]
    assert "not the next one" in refused(Dialogue("nano", "verify", samples=names), line(second))
    again = Dialogue("nano", "verify", samples=names)
    again.take(line(first))
    assert "not the next one" in refused(again, line(first))
    more = Dialogue("nano", "verify", samples=names)
    for sample in (first, second):
        more.take(line(sample))
    assert "not the next one" in refused(more, line(second))
    assert [sample.file for sample in more.samples] == names


def test_detections_are_bounded_in_all() -> None:
    crowd = {"boxes": [[0, 0, 1, 1]] * 5000, "labels": [1] * 5000, "scores": [1] * 5000}
    dialogue = Dialogue("nano", "status")
    for number in range(MOST_SHOWN // 5000):
        dialogue.take(line({**SAMPLE, **crowd, "file": f"samples/{number}.npy"}))
    assert "more detections than there can be" in refused(dialogue, line({**SAMPLE, "file": "samples/x.npy"}))


def test_a_sample_that_a_board_keeps_damaged_is_none() -> None:
    """Its report then has too few, and the release is verified anew; that is no error of the board's."""
    dialogue = Dialogue("nano", "status")
    assert dialogue.take(line({**SAMPLE, "scores": [9.9]})) is None
    assert dialogue.take(line({**SAMPLE, "boxes": None})) is None
    assert isinstance(dialogue.take(line(SAMPLE)), Sample) and len(dialogue.samples) == 1
    for _ in range(997):
        dialogue.take(line({**SAMPLE, "labels": []}))
    assert "more samples than a release has" in refused(dialogue, line({**SAMPLE, "labels": []}))
    assert "scores" in refused(Dialogue("nano", "verify", samples=[SAMPLE["file"]]), line({**SAMPLE, "scores": [9.9]}))


def frame(content: bytes, **other: Any) -> bytes:
    said = {"event": "frame", "id": hashlib.sha256(content).hexdigest(), "size": len(content), "kind": "png"}
    said |= {"height": 2, "width": 3, "release": "m-0123456789ab", "classes": ["a"], "reason": "score", "rank": 0.5}
    found = [{"box": [0, 0, 1, 1], "class": "a", "score": 0.4}]
    return line({**said, "age": 1, "found": found, **other})


def test_frames_are_those_that_were_asked_for_with_their_bytes() -> None:
    contents = [b'{"event": "result"}\n' * 3, b"\n", b"x" * (3 << 20)]
    asked = {hashlib.sha256(each).hexdigest(): len(each) for each in contents}
    dialogue, reader, came = Dialogue("nano", "collect", frames=asked), LineReader("nano", "collect"), []
    sent = b"".join(frame(each) + b"\n" + each for each in (contents[0], contents[2]))  # one is gone there
    sent += line({"event": "result", "on": True, "trouble": "", "frames": []}) + b"\n"
    for start in range(0, len(sent), 7001):
        for each in reader.feed(sent[start : start + 7001]):
            word = dialogue.take(each)
            reader.within = dialogue.awaited
            came += [] if word is None else [word]
    assert [each.content for each in came[:-1] if isinstance(each, WholeFrame)] == [contents[0], contents[2]]
    assert isinstance(came[-1], KeptFrames) and len(came) == 3


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"id": SHA}, "was not asked for"),
        ({"size": 10}, "larger than it said"),
        ({"size": 33 << 20}, "size"),
        ({"size": 0}, "size"),
        ({"kind": "svg"}, "kind"),
        ({"width": 70_000}, "width"),
        ({"release": "../x"}, "release"),
        ({"found": [{"box": [0, 0, 1, 1], "class": "", "score": 0.4}]}, "found"),
        ({"found": [{"box": [0, 0, 1, 99], "class": "a", "score": 0.4}]}, "found"),
        ({"classes": ["a"] * 10_001}, "classes"),
        ({"more": 1}, "more"),
    ],
)
def test_a_frame_that_no_agent_sends_is_refused(other: dict[str, Any], why: str) -> None:
    dialogue = Dialogue("nano", "collect", frames={hashlib.sha256(b"content").hexdigest(): 7})
    assert why in refused(dialogue, frame(b"content", **other))
    assert "was not asked for" in refused(Dialogue("nano", "status"), frame(b"content"))


def test_frames_keep_their_order_and_their_bytes() -> None:
    asked = {hashlib.sha256(each).hexdigest(): 9 for each in (b"first", b"second")}
    dialogue = Dialogue("nano", "collect", frames=asked)
    assert dialogue.take(frame(b"second")) is None and dialogue.awaited == 6
    assert "are not those of the frame" in refused(dialogue, b"secomd")
    late = Dialogue("nano", "collect", frames=asked)
    late.take(frame(b"second"))
    assert isinstance(late.take(b"second"), WholeFrame)
    for again in (b"first", b"second"):
        assert "not at this point" in refused(late, frame(again))


def test_names_that_a_board_made_up_are_harmless() -> None:
    dialogue = Dialogue("nano", "collect", frames={hashlib.sha256(b"x").hexdigest(): 1})
    dialogue.take(frame(b"x", found=[{"box": [0, 0, 1, 1], "class": "\x1b[2J", "score": 0.4}]))
    came = dialogue.take(b"x")
    assert isinstance(came, WholeFrame) and not harmful(came.said.found[0].name)


def test_a_quick_board_may_tell_of_each_sample_it_verifies() -> None:
    dialogue = Dialogue("nano", "verify", samples=[f"samples/{number}.npy" for number in range(1000)], clock=Turned())
    for number in range(1000):
        dialogue.take(line({"event": "progress", "step": "verify", "done": number + 1, "total": 1000}))


def test_an_object_of_many_members_is_refused_at_once() -> None:
    """Checked one after the other, these keys take six seconds and 300 MB; other boards would wait."""
    releases = ",".join(f'"{number}":0' for number in range(90_000)).encode()
    began = time.process_time()
    said = b'{"event":"result","releases":{' + releases + b"}}"
    assert "an object of 90000 members" in refused(Dialogue("nano", "status"), said)
    assert time.process_time() - began < 2


def test_facts_of_a_board_are_the_same_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both reckon the engine's key from them."""
    odd = "Cortex\tA78\x1b[2J\u202e\udc80 \u200d" + "x" * 900
    monkeypatch.setattr(probe, "processor", lambda: odd)
    monkeypatch.setattr(probe, "_cuda", lambda: {"name": odd})
    monkeypatch.setattr(probe, "_tensorrt", lambda: {"version": odd})
    monkeypatch.setattr(probe, "_platform", lambda store, cuda: {"dla_cores": 2})
    facts = probe.probe(Store(str(tmp_path)))
    assert facts["cpu"].startswith("Cortex A78 [2J") and facts["tensorrt"]["dla_cores"] == 2
    assert plain(Facts.model_validate(facts)) == facts


def test_lines_of_unknown_number_come_at_a_bounded_rate() -> None:
    clock = Turned()
    dialogue = Dialogue("nano", "build", files=10, clock=clock)
    for _ in range(BURST + 10):
        dialogue.take(line({"event": "heartbeat"}))
    assert "it talks without end" in refused(dialogue, b"printed")
    clock.now += 1.0
    for _ in range(int(RATE)):
        dialogue.take(b"printed")
    refused(dialogue, line({"event": "progress", "step": "build"}))
    clock.now += 1e6
    for _ in range(BURST + 10):
        dialogue.take(b"printed")
    refused(dialogue, b"printed")


def test_texts_of_a_board_cannot_move_a_cursor() -> None:
    words = "\x1b]52;c;aGk=\x07\r\x9b2J\u202e\ud800" + "x" * 20_000
    event = {"event": "error", "what": f"\nother: {words}", "why": words + "\nend", "kind": "bug"}
    failure = Dialogue("nano", "build").take(json.dumps(event).encode())
    assert isinstance(failure, Failure)
    assert failure.what.startswith(r"\nother: ") and "\n" not in failure.what
    for text in (failure.what.removeprefix(r"\nother: "), failure.why):
        assert text.startswith(r"\x1b]52;c;aGk=\x07\r\x9b2J\u202e\ud800") and len(text) <= 8000
        assert not harmful(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_events = st.fixed_dictionaries(
    {"event": st.sampled_from(["heartbeat", "progress", "need", "sample", "error", "result", "phase"]) | _json},
    optional=dict.fromkeys(
        ("step", "note", "path", "files", "boxes", "labels", "what", "kind", "release", "facts", "cuda"), _json
    ),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(["probe", "receive", "build", "verify", "status", "health", "keys"]),
    st.lists(_events.map(lambda event: json.dumps(event).encode()) | st.binary(max_size=60), max_size=6),
)
def test_whatever_comes_is_a_known_word_or_a_board_error(command: str, lines: list[bytes]) -> None:
    dialogue = Dialogue("nano", command)
    try:
        for said in lines:
            dialogue.take(said)
    except BoardError as error:
        assert not harmful(str(error))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_come_out_whole_however_they_are_cut(said: list[bytes], size: int) -> None:
    whole = b"\n".join(said)
    reader = LineReader("nano", "build")
    found = [cut for at in range(0, len(whole), size) for cut in reader.feed(whole[at : at + size])]
    assert found == whole.split(b"\n")[:-1]


def test_a_line_without_an_end_and_words_without_one_are_refused() -> None:
    reader = LineReader("nano", "build")
    with pytest.raises(BoardError, match="a line is longer than 1 MiB"):
        for _ in range(LONGEST_LINE // 4096 + 1):
            list(reader.feed(b"x" * 4096))
    reader = LineReader("nano", "build")
    with pytest.raises(BoardError, match="talks without end"):
        for _ in range(MOST_BYTES // (1 << 16) + 1):
            list(reader.feed(b"x" * ((1 << 16) - 1) + b"\n"))
    reader = LineReader("nano", "build")
    with pytest.raises(BoardError, match="talks without end"):
        reader.beside(MOST_BYTES + 1)


def test_every_kind_of_error_that_the_agent_raises_is_known_here() -> None:
    """Each is a word that the boundary takes; else a board's honest failure would count as a lie."""
    raised = set()
    for path in AGENT.rglob("*.py"):
        source = path.read_text()
        raised |= set(re.findall(r'"kind": "([a-z_]+)"', source)) | set(re.findall(r'\n *kind="([a-z_]+)"', source))
        raised |= {
            words[-1] for call in _calls(source, "AgentError") if len(words := call) == 4 and words[-1] is not None
        }
    assert {"disk", "busy", "cancelled", "memory", "bug", "unhealthy"} <= raised
    assert raised <= set(get_args(Kind)), raised - set(get_args(Kind))


def _calls(source: str, name: str) -> list[list[Any]]:
    """The arguments of each call of a name: text where an argument is one, else every text within it, else None."""
    import ast

    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
            found.append([_text(argument) for argument in node.args])
            if len(node.args) == 4 and isinstance(node.args[3], ast.IfExp):
                found.append([*found[-1][:3], _text(node.args[3].orelse)])
                found[-2][3] = _text(node.args[3].body)
    return found


def _text(node: Any) -> Any:
    value = getattr(node, "value", None)
    return value if isinstance(value, str) else None


def test_the_words_of_0_1_are_read_under_the_names_of_this_version() -> None:
    """A build that 0.1 started may end with its kind of error; a site's worker of 0.1 writes its name of the field."""
    from jetlane.remote.protocol.events import EVENT
    from jetlane.remote.protocol.results import Built, plain

    failure = EVENT.validate_python({"event": "error", "what": "no road fits", "kind": "road"})
    assert failure.kind == "backend"  # type: ignore[union-attr]
    fields = {name: value for name, value in BUILT.items() if name not in ("event", "backend")}
    old = Built.model_validate({**fields, "road": "cpu", "seconds": 1.0, "size": 3})
    assert old.backend == "cpu" and plain(old)["backend"] == "cpu" and "road" not in plain(old)
