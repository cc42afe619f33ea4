"""A VOC folder with many kinds of flaws at once, for pages and benches: drawn images, hostile names among them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tests.tasks.data.drawn import Drawn, picture, shapes
from tests.tasks.data.exporters import voc

HOSTILE = "<script>alert(1)</script>"


def flawed_folder(out: Path, count: int = 30) -> Path:
    """A folder in VOC's form: shapes, and beside them one image or more of each flaw."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    items = list(shapes(count))
    first = items[0]
    side = float(first.width)

    def made(name: str, *boxes: tuple[str, float, float, float, float], encoded: bytes = b"") -> Drawn:
        return Drawn(name, encoded or picture(rng, 160, 160, kind="JPEG"), 160, 160, tuple(boxes))

    jpeg = picture(rng, 160, 160, kind="JPEG")
    items += [
        made("outside.jpg", ("circle", 200.0, 20.0, 250.0, 60.0), ("square", 20.0, 20.0, 90.0, 90.0)),
        made("inverted.jpg", ("circle", 90.0, 90.0, 20.0, 20.0)),
        made("over the edge.jpg", ("square", 100.0, 100.0, 175.0, 150.0)),
        made("no area.jpg", ("square", 100.0, 100.0, 100.0, 150.0)),
        made("twice.jpg", ("square", 30.0, 30.0, 80.0, 90.0), ("square", 30.0, 30.0, 80.0, 90.0)),
        made("tiny.jpg", ("circle", 30.0, 30.0, 31.0, 31.5)),
        made("flat.jpg", ("triangle", 2.0, 70.0, 158.0, 78.0)),
        made("empty.jpg"),
        made("cut short.jpg", ("circle", 1.0, 1.0, 50.0, 50.0), encoded=jpeg[: len(jpeg) // 2]),
        made("no image.jpg", ("circle", 1.0, 1.0, 50.0, 50.0), encoded=b"<html>not found</html>"),
        made("grey palette.jpg", ("circle", 1.0, 1.0, 50.0, 50.0), encoded=_bmp(rng)),
        made("a&b \"q\" 's' img src=x onerror=alert(1).jpg", (HOSTILE, 10.0, 10.0, 120.0, 100.0)),
        Drawn("copy.png", first.encoded, first.width, first.height, (("circle", 1.0, 1.0, side - 1, side - 1),)),
    ]
    voc(items, out)
    return out


def _bmp(rng: np.random.Generator) -> bytes:
    content = io.BytesIO()
    Image.open(io.BytesIO(picture(rng, 160, 160))).save(content, "BMP")
    return content.getvalue()
