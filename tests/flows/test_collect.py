"""``jetlane collect``: frames come from boards that keep them, once, and are labels only when a person made them so."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.flows.test_data_commands import run
from tests.tasks.data.drawn import Drawn, shapes
from tests.tasks.data.exporters import EXPORTERS

from jetlane.remote.agent.program import encode
from jetlane.remote.agent.program.keeper import Keeper
from jetlane.remote.device import collection
from jetlane.remote.inventory import load_inventory
from jetlane.remote.protocol.events import Frame, WholeFrame
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.load import load_spec
from jetlane.tasks.data.checked import check_spec_data
from jetlane.tasks.data.collected import CollectedFolder

DRAWN = shapes(18)
CLASSES = ["circle", "square", "triangle"]
RELEASE = "shapes-0123456789ab"


class Board:
    """A virtual Jetson whose programs have kept frames."""

    def __init__(self, fleet: virtual.VirtualFleet) -> None:
        self.fleet = fleet
        self.root = fleet.devices[0].home / load_inventory(fleet.inventory).devices[0].root
        self.frames = Keeper(str(self.root))

    @property
    def inventory(self) -> Path:
        return self.fleet.inventory

    def keep(self, items: list[Drawn], **settings: Any) -> None:
        """Frames in which everything was found, the first object with a name of another class."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "config.json").write_text(json.dumps({"collect": settings}))
        for item in items:
            names = [label for label, *_ in item.boxes]
            names[0] = "square" if names[0] != "square" else "circle"
            sides = np.array([item.width, item.height] * 2)
            found = [
                {"box": (np.array(box) / sides).tolist(), "class": name, "score": 0.4}
                for name, (_, *box) in zip(names, item.boxes)
            ]
            facts = {
                "height": item.height,
                "width": item.width,
                "release": RELEASE,
                "classes": CLASSES,
                "reason": "score",
                "rank": 0.5,
                "found": found,
            }
            assert self.frames.keep(item.encoded, facts, 10**8, 14.0)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[virtual.VirtualFleet]:
    started = virtual.start(tmp_path_factory.mktemp("fleet") / "board")
    yield started
    virtual.stop(started.folder)


@pytest.fixture
def board(fleet: virtual.VirtualFleet) -> Board:
    """With no frames on it."""
    made = Board(fleet)
    made.frames.remove(made.frames.listed())
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec with a data set that frames can join."""
    EXPORTERS["voc"](DRAWN[:10], tmp_path / "data")
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({"name": "grows", "dataset": {"voc": "data"}, "workspace": "work"}))
    return path


def brought(capsys: Any, board: Board, home: Path, *words: str) -> Any:
    code, out, err = run(capsys, "collect", "--to", board.inventory, "--out", home, "--json", *words)
    assert code == 0, out + err
    return json.loads(out)


def objects(spec: Path) -> dict[str, int]:
    """Objects by class, as a run would have them."""
    splits = check_spec_data(load_spec(spec)).to_json()["splits"].values()
    names = {name for split in splits for name in split["objects"]}
    return {name: sum(split["objects"].get(name, 0) for split in splits) for name in names}


def expected(items: list[Drawn]) -> dict[str, int]:
    labels = [label for item in items for label, *_ in item.boxes]
    return {name: labels.count(name) for name in set(labels)}


def test_frames_come_home_once_and_leave_the_board(board: Board, tmp_path: Path, capsys: Any) -> None:
    board.keep(DRAWN[10:13])
    name = board.fleet.devices[0].name
    kept = brought(capsys, board, tmp_path / "home", "--keep")
    assert kept["devices"][name]["fetched"] == 3 and len(board.frames.listed()) == 3
    again = brought(capsys, board, tmp_path / "home")
    assert {key: again["devices"][name][key] for key in ("fetched", "removed", "left", "refused")} == {
        "fetched": 0,
        "removed": 3,
        "left": 0,
        "refused": [],
    }
    assert board.frames.listed() == [] and again["frames"] == 3
    images = {path.read_bytes() for path in (tmp_path / "home" / "images").iterdir()}
    assert images == {item.encoded for item in DRAWN[10:13]}
    made = json.loads(Path(again["prelabels"]).read_text())
    assert [each["name"] for each in made["categories"]] == CLASSES and made["info"]["prelabels"] is True
    assert {(each["device"], each["release"], each["reason"]) for each in made["images"]} == {(name, RELEASE, "score")}
    assert len(made["annotations"]) == sum(len(item.boxes) for item in DRAWN[10:13])
    assert run(capsys, "collect", name, "--to", board.inventory, "-o", tmp_path / "home")[1].startswith(
        f"{name}: 0 frames came home\n"
    )
    (board.root / "config.json").write_text("{}")
    assert (
        "its owner has not switched it on"
        in run(capsys, "collect", "--to", board.inventory, "-o", tmp_path / "home")[1]
    )


def test_after_a_broken_connection_the_rest_comes(
    board: Board, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.keep(DRAWN[10:16])
    monkeypatch.setattr(collection, "AT_ONCE", 2)
    put, count = CollectedFolder.put, [0]

    def cut(self: Any, device: str, frame: WholeFrame) -> str:
        said = put(self, device, frame)
        count[0] += 1
        if count[0] == 3:
            virtual.stop(board.fleet.folder)
        return said

    monkeypatch.setattr(CollectedFolder, "put", cut)
    command = ("collect", "--to", board.inventory, "--out", tmp_path / "home", "--json")
    code, out, err = run(capsys, *command)
    (failed,) = json.loads(out)["devices"].values()
    assert code == 1 and "the connection was lost" in failed["error"]["what"] and not err.strip().count("Traceback")
    assert json.loads(out)["frames"] >= 3 and len(board.frames.listed()) == 4
    virtual.start(board.fleet.folder)
    (rest,) = brought(capsys, board, tmp_path / "home")["devices"].values()
    assert 0 < rest["fetched"] <= 3 and rest["removed"] == 4 and board.frames.listed() == []
    images = {path.read_bytes() for path in (tmp_path / "home" / "images").iterdir()}
    assert images == {item.encoded for item in DRAWN[10:16]}


def test_prelabels_of_coco_are_labels_only_once_corrected(
    board: Board, tmp_path: Path, spec: Path, capsys: Any
) -> None:
    board.keep(DRAWN[10:13])
    home = tmp_path / "home"
    written = Path(brought(capsys, board, home)["prelabels"])
    for given in (written, home):
        code, _, err = run(capsys, "data", "add", spec, given)
        assert code == 1 and "it holds what a detector found" in err
    made = json.loads(written.read_text())
    del made["info"]  # as every tool writes its own
    numbers = {each["name"]: each["id"] for each in made["categories"]}
    files = {item.encoded: item for item in DRAWN}
    for each in made["images"]:
        item = files[(home / each["file_name"]).read_bytes()]
        first = next(one for one in made["annotations"] if one["image_id"] == each["id"])
        first["category_id"] = numbers[item.boxes[0][0]]
    (home / "labelled.json").write_text(json.dumps(made))
    code, _, err = run(capsys, "data", "add", spec, home / "labelled.json")
    assert code == 0, err
    assert objects(spec) == expected(DRAWN[:13])
    code, out, _ = run(capsys, "data", "add", spec, home)
    assert code == 0 and "3 images" in out and "already" in out, "the file of pre-labels beside it is left aside"


def test_predictions_of_label_studio_are_labels_only_once_a_person_made_them_so(
    board: Board, tmp_path: Path, spec: Path, capsys: Any
) -> None:
    board.keep(DRAWN[10:13])
    home = tmp_path / "home"
    written = Path(brought(capsys, board, home, "--format", "label_studio")["prelabels"])
    config = (home / "label-studio-config.xml").read_text()
    assert all(f'<Label value="{name}"/>' in config for name in CLASSES)
    before = objects(spec)
    run(capsys, "data", "add", spec, written)
    assert objects(spec) == before, "no image joins, with its predictions or as one without objects"
    tasks = json.loads(written.read_text())
    files = {item.encoded: item for item in DRAWN}
    tasks[2]["annotations"] = [{"result": tasks[2]["predictions"][0]["result"], "was_cancelled": True}]
    for task in tasks[:2]:  # one was skipped
        result = task["predictions"][0]["result"]
        item = files[(home / task["data"]["image"].partition("?d=")[2]).read_bytes()]
        result[0]["value"]["rectanglelabels"] = [item.boxes[0][0]]
        task["annotations"] = [{"result": result}]
    (home / "export.json").write_text(json.dumps(tasks))
    code, _, err = run(capsys, "data", "add", spec, home / "export.json")
    assert code == 0, err
    done = [files[(home / task["data"]["image"].partition("?d=")[2]).read_bytes()] for task in tasks[:2]]
    assert objects(spec) == expected([*DRAWN[:10], *done])


def test_least_score_and_how_much_a_board_may_send(board: Board, tmp_path: Path, capsys: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    large = Drawn("large.png", encode.png(noise), 700, 700, (("circle", 1.0, 1.0, 50.0, 50.0),))
    board.keep([DRAWN[10], large])
    (row,) = brought(capsys, board, tmp_path / "home", "--at-most", "1", "--min-score", "0.5")["devices"].values()
    assert (row["fetched"], row["left"]) == (1, 1)
    made = json.loads((tmp_path / "home" / "prelabels-coco.json").read_text())
    assert made["annotations"] == [] and len(made["images"]) == 1


def said(content: bytes, **other: Any) -> WholeFrame:
    facts = {"event": "frame", "id": hashlib.sha256(content).hexdigest(), "size": len(content), "kind": "png"}
    facts |= {"height": 4, "width": 6, "release": RELEASE, "classes": CLASSES, "reason": "score", "rank": 0.5}
    return WholeFrame(Frame.model_validate({**facts, "age": 5, "found": [], **other}), content)


def bomb() -> bytes:
    made = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(made, "PNG")
    return made.getvalue()


GOOD = encode.png(np.zeros((4, 6, 3), np.uint8))
# Each row: what a board sends for a frame, what it says of it, and words of the refusal.
UNTRUE: list[tuple[bytes, dict[str, Any], str]] = [
    (b"#!/bin/sh\nrm -r ~\n", {}, "is no image"),
    (b"<svg onload=alert(1)>", {}, "is an SVG drawing"),
    (GOOD[:-20], {}, "cut short"),
    (GOOD, {"width": 7}, "is not the image"),
    (GOOD, {"kind": "jpg"}, "is not the image"),
    (bomb(), {"width": 20_000, "height": 20_000}, "pixels"),
]


@pytest.mark.parametrize(("content", "other", "words"), UNTRUE)
def test_what_is_no_such_image_is_not_taken(tmp_path: Path, content: bytes, other: dict[str, Any], words: str) -> None:
    home = CollectedFolder(tmp_path / "home")
    frame = said(content, **other)
    assert words in home.put("nano", frame) and not home.has(frame.said.id)
    assert list((tmp_path / "home" / "images").iterdir()) == list(home.frames()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, board: Board, capsys: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    code, _, err = run(capsys, "collect", "--to", board.inventory, "--out", tmp_path / "mine")
    assert code == 1 and "it holds no frames of boards" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    home = CollectedFolder(tmp_path / "home")
    assert home.put("nano", said(GOOD)) == "" and [each.device for each in home.frames()] == ["nano"]
    shutil.rmtree(tmp_path / "home" / "images")
    assert list(CollectedFolder(tmp_path / "home").frames()) == [], "what is gone is fetched again"
