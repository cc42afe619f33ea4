"""The page of a data set shows what it holds and what is wrong with it, stands alone, and trusts no text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.flows import chromium
from tests.tasks.data.flawed_set import HOSTILE, flawed_folder
from tests.tasks.reporting.pages import plain

from jetlane.specs.schema import RunSpec
from jetlane.tasks.data.ingest import SPLITS
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.show import shown_data
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.reporting.data_page import finding_groups, render, write_data_page
from jetlane.tasks.reporting.data_pictures import Room, pictures, sample

LARGEST = 3_000_000


def spec(dataset: dict[str, Any], **more: Any) -> RunSpec:
    return RunSpec.model_validate(
        {"name": "parts", "dataset": dataset, "model": {"width": 160, "height": 160, **more.pop("model", {})}, **more}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flawed_folder(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    with shown_data(spec({"voc": str(folder)})) as shown:
        return render(shown)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def test_the_shapes_set(tmp_path: Path) -> None:
    with shown_data(spec({"shapes": {"train_images": 14, "validation_images": 6}})) as shown:
        text = plain(render(shown))
        assert shown.kind == "shapes" and not shown.refused
    assert "A run would take this data set as it is." in text
    assert re.search(r"images 14 6 images without an object 0 0", text)
    for name in ("1 circle", "2 square", "3 triangle", "320 × 180", "200 × 240", "Anchors have sides of"):
        assert name in text


def test_flaws_are_counted_with_what_is_done(folder: Path, page: str) -> None:
    text = plain(page)
    assert "without 2 images and 3 boxes left out as wrong" in text
    for title, done in (
        ("images that cannot be decoded", "left out"),
        ("damaged images", "left out"),
        ("images that are there twice", "left out"),
        ("boxes with exchanged edges", "left out"),
        ("boxes over the edge of their image", "kept"),
        ("boxes too small for the network", "kept"),
        ("images that were written again for TensorFlow's decoders", "mended or noted"),
    ):
        assert f"1 {title}: {done}" in text
    assert f"{folder}/JPEGImages/no image.jpg JPEGImages/no image.jpg is a web page, not an image" in text
    assert "matched by no anchor" in text and "model.anchors: fit" in text


def test_flawed_images_are_drawn_with_the_boxes_that_are_wrong(page: str) -> None:
    figures = {re.search(r"JPEGImages/[^:<]*", each)[0].split(" <")[0].strip(): each for each in _flawed(page)}  # type: ignore[index]
    inverted = figures["JPEGImages/inverted.jpg"]
    # 20 to 90 of 160 pixels: it is drawn as it was meant
    assert '<g class="wrong"><rect x="20.0" y="20.0" width="70.0" height="70.0"/>' in inverted
    outside = figures["JPEGImages/outside.jpg"]
    assert outside.count('class="wrong"') == 1 and ">square</text>" in outside, "what is kept is drawn, too"
    assert "No picture: it cannot be decoded." in figures["JPEGImages/no image.jpg"]
    assert "<image" in figures["JPEGImages/cut short.jpg"], "what can be seen of a damaged one is"


def _flawed(page: str) -> list[str]:
    return re.findall("<figure>.*?</figure>", page.partition("How that looks")[2], re.DOTALL)


def test_every_class_is_among_the_pictures(page: str) -> None:
    pictured = page.partition("<h2>Images</h2>")[2].partition("<h2>What was found")[0]
    for name in ("circle", "square", "triangle", "&lt;script&gt;alert(1)&lt;/script&gt;"):
        assert f"{name}</text>" in pictured


def test_names_are_text_and_the_page_stands_alone(page: str) -> None:
    assert HOSTILE in plain(page)
    tags = Tags(page)
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in tags.found}
    links = [value or "" for _, attributes in tags.found for key, value in attributes.items() if key in ("href", "src")]
    assert links and all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert not [key for _, attributes in tags.found for key in attributes if key.startswith("on")]
    assert not re.search(r"url\(|@import", page)
    assert len(page.encode()) < LARGEST
    images = [attributes for tag, attributes in tags.found if tag == "svg"]
    assert images and all(each["role"] == "img" and each["aria-label"] for each in images)


def test_anchors_that_the_spec_has_fitted_are_told_as_the_networks_own(folder: Path) -> None:
    proposed = "model.anchors: fit would put these into the pipeline.config"
    for anchors, sentence in (("given", proposed), ("fit", proposed.replace("would put", "puts"))):
        with shown_data(spec({"voc": str(folder)}, model={"anchors": anchors})) as shown:
            text = plain(render(shown))
            assert shown.fit is not None and shown.fit.fitted is not None
        assert sentence in text
        share = shown.fit.fitted.matched if anchors == "fit" else shown.fit.matched
        assert f"{100 * share:.1f} % objects that" in text


def test_what_stops_a_run_stands_first(folder: Path) -> None:
    with shown_data(spec({"voc": str(folder), "classes": ["circle", "square", "triangle"]})) as shown:
        first = finding_groups(shown)[0]
        text = plain(render(shown))
    assert (first.title, first.done, first.count) == ("unknown classes", "stops the run", 1)
    assert "A run would stop: the data set holds 1 mistake that must be corrected." in text


def test_own_records(tmp_path: Path) -> None:
    prepare(SyntheticSource(train_images=12, validation_images=5, seed=3, shards=2), tmp_path)
    given = {"train": f"{tmp_path}/train.record-*", "label_map": str(tmp_path / "label_map.pbtxt")}
    with shown_data(spec({**given, "validation": f"{tmp_path}/validation.record-*"})) as shown:
        assert shown.kind == "records" and [len(shown.images(split)) for split in SPLITS] == [12, 5]
        assert "A run would take this data set as it is." in plain(render(shown))
    with shown_data(spec({**given, "validation": given["train"]})) as shown:
        assert shown.refused is not None, "the same records in both splits"


def test_no_usable_image_is_a_page_too(tmp_path: Path) -> None:
    flawed_folder(tmp_path, 1)
    for path in (tmp_path / "JPEGImages").iterdir():
        path.write_bytes(b"")
    with shown_data(spec({"voc": str(tmp_path)})) as shown:
        text = plain(render(shown))
    assert "No image can be used." in text and "Not known: there is no object." in text


def test_pictures_end_where_there_is_no_room(folder: Path) -> None:
    with shown_data(spec({"voc": str(folder)})) as shown:
        chosen = sample(shown.plan.images)
        assert len(chosen) == 24
        small = list(pictures(chosen, {}, Room(30_000)))
        assert 0 < len(small) < len(chosen) and sum(len(each.uri) for each in small) <= 30_000


@pytest.mark.skipif(chromium.program() is None, reason="Debian's chromium is not installed (.ci/run does it)")
def test_a_browser_draws_it_in_light_and_dark_and_asks_nobody(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with shown_data(spec({"voc": str(folder)})) as shown:
        write_data_page(path, shown)
    browser = chromium.Chromium()
    try:
        colours = set()
        for scheme in ("light", "dark"):
            browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            browser.open(path.as_uri())
            colours.add(browser.run("getComputedStyle(document.body).backgroundColor"))
            assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"
            loaded = browser.run("performance.getEntriesByType('resource').map(e => e.name)")
            assert all(name.startswith("data:") for name in loaded)
            assert browser.run("Array.from(document.images).length") == 0
        assert len(colours) == 2
        reachable = "Array.from(document.querySelectorAll('summary, [tabindex]'))"
        reached = f"{reachable}.every(each => (each.focus(), document.activeElement === each))"
        assert browser.run(reached), "details and what scrolls can be reached by keyboard"
    finally:
        browser.close()
