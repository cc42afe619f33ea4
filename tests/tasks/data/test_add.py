"""Images that join a data set: checked as a run does, once, never over what is there; and a place that is watched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from tests.tasks.data.drawn import shapes
from tests.tasks.data.exporters import EXPORTERS

from jetlane.specs.errors import DatasetError, SpecError
from jetlane.specs.load import load_spec
from jetlane.tasks.data.add import add
from jetlane.tasks.data.checked import check_spec_data
from jetlane.tasks.data.watched import WatchedPlace

DRAWN = shapes(20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    EXPORTERS["voc"](DRAWN[:10], tmp_path / "data")
    return tmp_path


def spec(folder: Path, **dataset: Any) -> Any:
    content = {"name": "grows", "dataset": {"voc": "data", **dataset}, "workspace": "work"}
    (folder / "spec.yaml").write_text(yaml.safe_dump(content))
    return load_spec(folder / "spec.yaml")


def counted(folder: Path) -> dict[str, int]:
    """Images of both splits, and objects by class, as a run would have them."""
    splits = check_spec_data(load_spec(folder / "spec.yaml")).to_json()["splits"].values()
    objects = [pair for split in splits for pair in split["objects"].items()]
    names = {name for name, _ in objects}
    return {
        "images": sum(split["images"] for split in splits),
        **{name: sum(count for each, count in objects if each == name) for name in names},
    }


def drawn(count: int) -> dict[str, int]:
    labels = [box[0] for item in DRAWN[:count] for box in item.boxes]
    return {"images": count, **{name: labels.count(name) for name in set(labels)}}


@pytest.mark.parametrize("format", ["yolo", "coco", "labelme", "cvat"])
def test_what_is_new_joins_and_the_rest_is_left_out(folder: Path, format: str) -> None:
    EXPORTERS[format](DRAWN[8:14], folder / "more")
    made = add(spec(folder), [folder / "more"])
    assert (made.images, made.copies, made.findings) == (4, 2, [])
    assert made.boxes == sum(len(item.boxes) for item in DRAWN[10:14]) and counted(folder) == drawn(14)
    again = add(load_spec(folder / "spec.yaml"), [folder / "more"])
    assert (again.images, again.copies, again.batch) == (0, 6, None)
    EXPORTERS["kitti"](DRAWN[14:16], folder / "third")
    (folder / "work" / "added" / "grows" / ".20260101-000000.part-1").mkdir()  # as a killed one leaves it
    third = add(load_spec(folder / "spec.yaml"), [folder / "third"])
    assert third.batch is not None and third.batch != made.batch and counted(folder) == drawn(16)
    assert not list(third.batch.parent.glob(".*.part-*"))
    shutil.rmtree(folder / "more")
    assert counted(folder) == drawn(16), "it is kept in the workspace"


def test_names_stay_as_they_were_labelled(folder: Path) -> None:
    """A mapping is the spec's: another one later finds what it asks for."""
    EXPORTERS["yolo"](DRAWN[10:14], folder / "more")
    add(spec(folder, classes={"round": ["circle"]}), [folder / "more"])
    assert "round" in counted(folder) and "circle" not in counted(folder)
    spec(folder)
    assert counted(folder) == drawn(14)


def test_an_image_that_is_kept_in_another_form_is_known_again(folder: Path) -> None:
    from PIL import Image

    EXPORTERS["voc"](DRAWN[10:11], folder / "more")
    (image,) = (folder / "more" / "JPEGImages").iterdir()
    Image.open(image).convert("RGB").save(image.with_suffix(".bmp"))
    image.unlink()
    (labels,) = (folder / "more" / "Annotations").iterdir()
    labels.write_text(labels.read_text().replace(image.name, image.with_suffix(".bmp").name))
    assert add(spec(folder), [folder / "more"]).images == 1
    again = add(load_spec(folder / "spec.yaml"), [folder / "more"])
    assert (again.images, again.copies) == (0, 1)


def test_what_a_run_would_refuse_is_refused_and_nothing_is_kept(folder: Path) -> None:
    items = [replace(item, boxes=(("cirle", 1.0, 1.0, 9.0, 9.0),)) for item in DRAWN[10:12]]
    EXPORTERS["voc"](items, folder / "odd")
    with pytest.raises(DatasetError, match=r"classes that the data set does not have: cirle(.|\n)*--new-classes"):
        add(spec(folder), [folder / "odd"])
    with pytest.raises(DatasetError, match="cirle"):
        add(spec(folder, classes=["circle", "square", "triangle"]), [folder / "odd"], new_classes=True)
    assert not (folder / "work" / "added").exists()
    assert add(spec(folder), [folder / "odd"], new_classes=True).images == 2
    (folder / "bad").mkdir()
    EXPORTERS["voc"](DRAWN[12:14], folder / "bad")
    damaged = next((folder / "bad" / "JPEGImages").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:100])
    made = add(load_spec(folder / "spec.yaml"), [folder / "bad"])
    assert made.images == 1 and [finding.kind for finding in made.findings] != []


# Each row: the data set, what is added, words of the error.
REFUSED = [
    ({"shapes": {}}, "more", "nothing can be added to this data set"),
    ({"voc": "data"}, "absent", "absent is not there"),
    ({"voc": "data"}, "data/JPEGImages", "no format that is known"),
    ({"voc": "data"}, "data/JPEGImages/" + DRAWN[0].name, "is an image"),
]


@pytest.mark.parametrize(("dataset", "given", "told"), REFUSED)
def test_what_cannot_be_added_is_told(folder: Path, dataset: Any, given: str, told: str) -> None:
    EXPORTERS["yolo"](DRAWN[10:12], folder / "more")
    (folder / "spec.yaml").write_text(yaml.safe_dump({"name": "grows", "dataset": dataset, "workspace": "work"}))
    with pytest.raises(DatasetError, match=told):
        add(load_spec(folder / "spec.yaml"), [folder / given])


@pytest.fixture
def bucket() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    if store.exists("/incoming"):
        store.rm("/incoming", recursive=True)


def put(store: Any, folder: Path) -> None:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        store.pipe_file(f"/incoming/{file.relative_to(folder).as_posix()}", file.read_bytes())


def test_a_bucket_that_has_settled_joins_once(folder: Path, bucket: Any) -> None:
    watched = {"watch": {"bucket": "memory://incoming", "settle": 5}}
    assert WatchedPlace(spec(folder, **watched)).change(pytest.fail) is None, "nothing is there"
    EXPORTERS["yolo"](DRAWN[10:12], folder / "more")
    put(bucket, folder / "more")
    waited: list[float] = []

    def more_comes(seconds: float) -> None:
        waited.append(seconds)
        bucket.pipe_file("/incoming/labels/half.txt", b"0 0.5")

    place = WatchedPlace(spec(folder, **watched))
    assert place.change(more_comes) is None and waited == [5.0] and "still changing" in place.said
    bucket.rm("/incoming/labels/half.txt")
    change = place.change(lambda _: None)
    assert change is not None
    added = place.take(change)
    assert added is not None and added.images == 2
    place.remember(change)
    place = WatchedPlace(spec(folder, **watched))
    assert place.change(pytest.fail) is None and "nothing is new" in place.said
    shutil.rmtree(folder / "more")
    EXPORTERS["yolo"](DRAWN[10:13], folder / "more")
    put(bucket, folder / "more")
    change = place.change(lambda _: None)
    assert change is not None
    added = place.take(change)
    assert added is not None and (added.images, added.copies) == (1, 2) and counted(folder) == drawn(13)
    files = {path.name for path in (folder / "work" / "watched" / "grows" / "files").rglob("*.*")}
    assert files == {path.name for path in (folder / "more").rglob("*.*")}


def test_names_of_a_bucket_lead_nowhere_else(folder: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"/incoming/../../out.jpg": {"size": 1}, "/incoming/.hidden": {"size": 1}}
    bucket.pipe_file("/incoming/a", b"")
    monkeypatch.setattr(type(bucket), "find", lambda self, root, detail: found)
    assert WatchedPlace(spec(folder, watch={"bucket": "memory://incoming"})).change(pytest.fail) is None


def test_a_source_of_the_data_set_is_only_watched(folder: Path) -> None:
    place = WatchedPlace(spec(folder, watch={"folder": "data", "settle": 0}))
    change = place.change()
    assert change is not None and place.take(change) is None
    assert not (folder / "work" / "added").exists()


def test_a_bucket_of_an_unknown_kind_is_told(folder: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        WatchedPlace(spec(folder, watch={"bucket": "nosuch://bucket/x"}))
    with pytest.raises(SpecError, match="the spec watches nothing"):
        WatchedPlace(spec(folder))


def test_a_batch_says_where_it_is_from(folder: Path) -> None:
    EXPORTERS["yolo"](DRAWN[10:12], folder / "more")
    batch = add(spec(folder), [folder / "more"]).batch
    assert batch is not None
    origin = json.loads((batch / ".origin.json").read_text())
    assert origin["from"] == [str(folder / "more")] and len(origin["sha256"]) == 2
