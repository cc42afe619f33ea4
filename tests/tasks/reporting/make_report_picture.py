"""Draw docs/images/report.png of a run's report: its beginning, and the first pictures of what the model sees.

``python -m tests.tasks.reporting.make_report_picture .jetlane/steps/report/<key>/report.html``; needs chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from tests.flows.chromium import Chromium

OUT = Path(__file__).resolve().parents[3] / "docs" / "images" / "report.png"
WIDTH, COLOURS, LARGEST = 1100, 256, 250_000
#: From the upper edge of the first to the lower one of the second.
PARTS = (("h1", "#verdict"), ("#pictures h2", "#pictures figure:nth-of-type(2)"))


def main(page: Path) -> None:
    browser = Chromium()
    try:
        metrics = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.send("Emulation.setDeviceMetricsOverride", **metrics)
        browser.open(page.resolve().as_uri())
        browser.send("Emulation.setScrollbarsHidden", hidden=True)
        spans = [
            browser.run(
                f"[document.querySelector('{first}').getBoundingClientRect().top + scrollY - 16,"
                f" document.querySelector('{last}').getBoundingClientRect().bottom + scrollY + 8]"
            )
            for first, last in PARTS
        ]
        with tempfile.TemporaryDirectory() as scratch:
            browser.screenshot(Path(scratch, "page.png"), whole=True)
            drawn = Image.open(Path(scratch, "page.png")).convert("RGB")
    finally:
        browser.close()
    parts = [drawn.crop((0, int(top), drawn.width, int(bottom))) for top, bottom in spans]
    whole = Image.new("RGB", (drawn.width, sum(part.height for part in parts)), "white")
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (0, parts[0].height))
    content = io.BytesIO()
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    if len(content.getvalue()) > LARGEST:
        raise SystemExit(f"the picture has {len(content.getvalue())} bytes, more than {LARGEST}")
    OUT.write_bytes(content.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
