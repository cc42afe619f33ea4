"""Draw docs/images/data-show.png, the upper part of the page that ``jetlane data show`` writes of a flawed data set:
``python -m tests.tasks.reporting.make_data_picture``. Needs Debian's chromium.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from tests.flows.chromium import Chromium
from tests.tasks.data.flawed_set import flawed_folder

from jetlane.specs.schema import RunSpec
from jetlane.tasks.data.show import shown_data
from jetlane.tasks.reporting.data_page import write_data_page

OUT = Path(__file__).resolve().parents[3] / "docs" / "images" / "data-show.png"
WIDTH, HEIGHT, COLOURS, LARGEST = 1100, 1300, 256, 150_000


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = flawed_folder(Path(scratch, "parts"))
        given = {"voc": str(folder), "ignore": ["<script>alert(1)</script>"]}
        spec = RunSpec.model_validate({"name": "parts", "dataset": given, "model": {"width": 160, "height": 160}})
        with shown_data(spec) as shown:
            write_data_page(Path(scratch, "page.html"), shown)
        browser = Chromium()
        try:
            metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            browser.send("Emulation.setDeviceMetricsOverride", **metrics)
            browser.open(Path(scratch, "page.html").as_uri())
            browser.send("Emulation.setScrollbarsHidden", hidden=True)
            browser.screenshot(Path(scratch, "page.png"))
        finally:
            browser.close()
        with Image.open(Path(scratch, "page.png")) as picture:
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    content = io.BytesIO()
    small.save(content, "PNG", optimize=True)
    if len(content.getvalue()) > LARGEST:
        raise SystemExit(f"the picture has {len(content.getvalue())} bytes, more than {LARGEST}")
    OUT.write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
