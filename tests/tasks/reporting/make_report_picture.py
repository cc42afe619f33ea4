"""Draw docs/images/report.png: ``python -m tests.tasks.reporting.make_report_picture REPORT.html``, of a real run.

Needs Debian's chromium. `make demo` on a quiet machine makes such a report, and says where it is.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from tests.flows.chromium import Chromium

OUT = Path(__file__).resolve().parents[3] / "docs" / "images" / "report.png"
WIDTH, MOST_HEIGHT, COLOURS, LARGEST = 900, 2000, 256, 400_000


def draw(report: Path, out: Path) -> None:
    """Write the upper part of a report as a PNG file.

    Raises:
        SystemExit: The picture is larger than a README should carry.
    """
    browser = Chromium()
    try:
        metrics = {"width": WIDTH, "height": MOST_HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.send("Emulation.setDeviceMetricsOverride", **metrics)
        browser.send("Emulation.setScrollbarsHidden", hidden=True)
        browser.open(report.resolve().as_uri())
        with tempfile.TemporaryDirectory() as scratch:
            browser.screenshot(Path(scratch, "page.png"))
            with Image.open(Path(scratch, "page.png")) as picture:
                small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    finally:
        browser.close()
    content = io.BytesIO()
    small.save(content, "PNG", optimize=True)
    if len(content.getvalue()) > LARGEST:
        raise SystemExit(f"the picture has {len(content.getvalue())} bytes, more than {LARGEST}")
    out.write_bytes(content.getvalue())


if __name__ == "__main__":
    draw(Path(sys.argv[1]), OUT)
