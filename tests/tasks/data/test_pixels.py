"""Images of every kind come out as 8-bit upright JPEG or PNG, and what needs no change keeps its bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.tasks.data.drawn import picture

from jetlane.tasks.data.boxes import frame_of
from jetlane.tasks.data.dataset_model import Box, LabelledImage
from jetlane.tasks.data.orientation import turned_box
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.pixels import UnusableImage, examine
from jetlane.tasks.data.uniform import changes, uniform

WIDTH, HEIGHT = 64, 40


def encoded(
    mode: str, kind: str, orientation: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any
) -> bytes:
    """Red on the left third, grey elsewhere; in a mode and a format."""
    image = Image.new("RGB", size, (90, 90, 90))
    image.paste((220, 30, 30), (0, 0, size[0] // 3, size[1]))
    if mode.startswith("I;16"):
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey)
    elif mode == "F":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    else:
        image = image.convert(mode)
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    """As TensorFlow decodes it: RGB, no orientation."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.format in ("JPEG", "PNG") and image.mode in ("RGB", "L", "P", "LA", "RGBA", "1")
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [("RGB", "JPEG", {}), ("L", "JPEG", {}), ("RGB", "JPEG", {"progressive": True}), ("RGB", "PNG", {}),
     ("L", "PNG", {}),
     ("P", "PNG", {}), ("LA", "PNG", {}), ("RGBA", "PNG", {}), ("1", "PNG", {}),
     ("RGB", "PNG", {"optimize": True})],
)  # fmt: skip
def test_what_tensorflow_decodes_keeps_its_bytes(mode: str, kind: str, options: dict[str, Any]) -> None:
    data = encoded(mode, kind, **options)
    facts = examine(data)
    assert not facts.rewrite and not facts.damage and not changes(facts, None)
    assert uniform(data, facts, None) is data
    assert (facts.size, facts.format) == ((WIDTH, HEIGHT), kind.lower())


@pytest.mark.parametrize(
    ("mode", "kind", "to"),
    [("CMYK", "JPEG", "jpeg"), ("I;16", "PNG", "png"), ("RGB", "BMP", "png"), ("RGB", "WEBP", "png"),
     ("L", "TIFF", "png"),
     ("I;16", "TIFF", "png"), ("F", "TIFF", "png"), ("CMYK", "TIFF", "png"), ("P", "GIF", "png"), ("RGB", "PPM", "png"),
     ("RGBA", "WEBP", "png"), ("1", "BMP", "png"), ("RGB", "JPEG2000", "png")],
)  # fmt: skip
def test_what_tensorflow_does_not_decode_is_written_again(mode: str, kind: str, to: str) -> None:
    data = encoded(mode, kind)
    facts = examine(data)
    assert facts.rewrite and facts.format == to
    made = uniform(data, facts, None)
    again = examine(made)
    assert not again.rewrite and again.size == (WIDTH, HEIGHT) and again.format == to
    assert uniform(data, facts, None) == made
    wanted = decoded(encoded("L" if mode in ("L", "I;16", "F", "1") else "RGB", "PNG"))
    difference = np.abs(decoded(made).astype(int) - wanted)
    assert np.median(difference) <= ({"1": 255, "P": 40}.get(mode, 6)), np.median(difference)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_turns_image_and_boxes(kind: str, orientation: int) -> None:
    data = encoded("RGB", kind, orientation)
    facts = examine(data)
    assert facts.orientation == orientation
    made = uniform(data, facts, None)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    with Image.open(io.BytesIO(made)) as image:
        assert image.size == facts.upright and image.getexif().get(0x0112, 1) == 1
    assert np.abs(decoded(made) - wanted).mean() < 3
    left, top, right, bottom = turned_box((0.0, 0.0, 1 / 3, 1.0), orientation)
    height, width = wanted.shape[:2]
    inside = decoded(made)[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    assert inside[..., 0].mean() > 180 and inside[..., 1].mean() < 70


def _labelled(
    size: tuple[int, int] | None, box: tuple[float, ...] = (1, 1, 5, 5), fractions: bool = False
) -> LabelledImage:
    boxes = (Box(*box, "car"),)
    return LabelledImage("a.jpg", ImageFile("a.jpg"), boxes, "a.xml", "voc: x", size, fractions)


@pytest.mark.parametrize(
    ("orientation", "size", "box", "frame", "says"),
    [
        (6, (WIDTH, HEIGHT), (1, 1, 5, 5), (WIDTH, HEIGHT), "as it is stored"),
        (6, (HEIGHT, WIDTH), (1, 1, 5, 5), (HEIGHT, WIDTH), "on the turned image"),
        (6, None, (1, 1, 60, 30), (WIDTH, HEIGHT), "its boxes fit the image as it is stored alone"),
        (6, None, (1, 1, 30, 60), (HEIGHT, WIDTH), "what viewers show"),
        (6, None, (1, 1, 5, 5), (HEIGHT, WIDTH), "what viewers show"),
        (3, (WIDTH, HEIGHT), (1, 1, 5, 5), (WIDTH, HEIGHT), "what viewers show"),
        (6, (WIDTH, WIDTH), (1, 1, 5, 5), None, "its labels say 64 x 64"),
        (1, (HEIGHT, WIDTH), (1, 1, 5, 5), None, "its labels say 40 x 64"),
    ],
)
def test_which_frame_the_labels_are_in_is_found_out(
    orientation: int, size: tuple[int, int] | None, box: tuple[float, ...], frame: tuple[int, int] | None, says: str
) -> None:
    found, findings = frame_of(_labelled(size, box), examine(encoded("RGB", "JPEG", orientation)))
    assert (found.size if found else None) == frame and says in findings[0].message


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_larger_images_are_reduced_by_the_mean_of_areas(kind: str) -> None:
    """No resampling that skips pixels: fine stripes become grey. Never is an image made larger."""
    stripes = np.zeros((1200, 1600, 3), np.uint8)
    stripes[:, ::2] = 200
    content = io.BytesIO()
    Image.fromarray(stripes).save(content, kind, quality=95)
    facts = examine(content.getvalue())
    made = uniform(content.getvalue(), facts, 400)
    assert examine(made).size == (400, 300)
    assert np.abs(decoded(made).astype(int) - 100).max() < 12
    assert uniform(content.getvalue(), facts, 1600) == content.getvalue() == uniform(content.getvalue(), facts, 9000)


def test_turned_and_reduced_at_once() -> None:
    data = encoded("RGB", "JPEG", 6, (640, 400))
    facts = examine(data)
    made = uniform(data, facts, 160)
    assert examine(made).size == (100, 160)
    assert decoded(made)[10, 50, 0] > 180 and decoded(made)[150, 50, 0] < 120


@pytest.mark.parametrize("quality", [70, 40])
def test_a_scene_is_known_again_at_another_quality(quality: int) -> None:
    from jetlane.tasks.data.scenes import same_scenes

    rng = np.random.default_rng(3)
    originals = [picture(rng, 160, 120, kind="JPEG", quality=90) for _ in range(30)]
    again = []
    for data in originals:
        content = io.BytesIO()
        Image.open(io.BytesIO(data)).save(content, "JPEG", quality=quality)
        again.append(examine(content.getvalue()))
    found = list(same_scenes([examine(data) for data in originals], again))
    assert [(each.first, each.second) for each in found] == [(place, place) for place in range(30)]
    assert not list(same_scenes([examine(data) for data in originals[:15]], again[15:]))


@pytest.mark.parametrize("lost", [64, 512, 4096])
def test_a_damaged_jpeg_is_noticed(lost: int) -> None:
    """Sectors of zeros, which decoders pass over; nothing is said of whole ones, flat as they may be."""
    data = picture(np.random.default_rng(0), 400, 300, kind="JPEG", quality=90)
    at = len(data) // 2
    broken = data[:at] + bytes(lost) + data[at + lost :]
    with Image.open(io.BytesIO(broken)) as image:
        image.load()  # not a word
    assert examine(broken).damage
    assert examine(data[:at]).damage
    flat = Image.new("RGB", (2000, 2000), (7, 7, 7))
    for options in ({}, {"optimize": True}, {"progressive": True}, {"quality": 100}):
        content = io.BytesIO()
        flat.save(content, "JPEG", **options)
        assert not examine(content.getvalue()).damage
    assert not examine(data).damage and not examine(data + b"appended by a camera").damage


def test_most_jpegs_that_lost_a_sector_are_noticed() -> None:
    """A decoder that finds its way again at the very block where it would have been is not seen to have lost it."""
    rng = np.random.default_rng(4)
    noticed = 0
    for count in range(60):
        data = picture(rng, 300, 300, kind="JPEG", quality=90)
        at = int(rng.integers(1000, len(data) - 2000))
        cut, other = data[:at] + data[at + 512 :], rng.integers(0, 256, 512, np.uint8).tobytes()
        noticed += bool(_examined(cut if count % 2 else data[:at] + other + data[at + 512 :]))
    assert noticed >= 54, noticed


def _examined(data: bytes) -> str:
    try:
        return examine(data).damage
    except UnusableImage as error:
        return str(error)


def test_a_bomb_is_refused_by_its_header() -> None:
    content = io.BytesIO()
    Image.new("1", (60_000, 60_000)).save(content, "PNG")
    with pytest.raises(UnusableImage, match="too many pixels"):
        examine(content.getvalue())
