"""The report in Markdown says the same, and nothing in it is taken for markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.tasks.reporting.whole_report import whole_facts

from jetlane.tasks.reporting.summary import markdown

NASTY = "a|b <img src=x onerror=alert(1)> [x](javascript:alert(1)) **bold** `code`\n# head"


def test_says_the_verdict_and_where_the_page_is(tmp_path: Path) -> None:
    text = markdown(whole_facts(tmp_path), Path("/ws/report.html"), "http://127.0.0.1:4200/reports/x.html")
    assert text.startswith("**2 devices run this release, verified on each device.**")
    assert "[Open the whole report](http://127.0.0.1:4200/reports/x.html)" in text
    assert "* **Better**: better: mAP\\@0.5 0.830, against 0.800" in text
    assert "| circle | 0.800 | 0.500 |" in text
    assert "* **nano-1**: active, NVIDIA Jetson Nano Developer Kit, L4T 32.7.1, TensorRT 8.2.1.8" in text
    assert "The whole report: `/ws/report.html`" in markdown(whole_facts(tmp_path / "b"), Path("/ws/report.html"), None)


def test_names_and_reasons_are_text(tmp_path: Path) -> None:
    facts = whole_facts(tmp_path)
    devices = (replace(facts.devices[0], name=NASTY, reason=NASTY, state="failed"),)
    named = replace(facts, devices=devices, labels=(NASTY,), per_class={NASTY: {"AP": 0.5, "AP@0.5": 0.5}}, error=NASTY)
    text = markdown(named, Path("/ws/report.html"), None)
    assert "<img" not in text and "](" not in text.replace("\\](", "") and "\n# head" not in text
    assert (
        r"a\|b &lt;img src=x onerror=alert\(1\)&gt; \[x\]\(javascript:alert\(1\)\) \*\*bold\*\* \`code\` \# head"
        in text
    )
