"""Every page in a real Chromium: nothing fails, nobody is asked, all can be seen, reached by keyboard, and printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.flows import chromium
from tests.tasks.data.flawed_set import flawed_folder
from tests.tasks.reporting import judged_page as judged
from tests.tasks.reporting.whole_report import HOSTILE, whole_facts

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.schema import RunSpec
from jetlane.tasks.data.evaluation_data import EvaluationData
from jetlane.tasks.data.examples import Sample
from jetlane.tasks.data.show import shown_data
from jetlane.tasks.models.evaluation import Evaluation
from jetlane.tasks.models.model_metrics import measure, wrong
from jetlane.tasks.proof import coco_map
from jetlane.tasks.proof.coco_map import GroundTruth
from jetlane.tasks.reporting.data_page import write_data_page
from jetlane.tasks.reporting.evaluation_folder import write_evaluation
from jetlane.tasks.reporting.fleet import FleetPage, write_fleet_page
from jetlane.tasks.reporting.report import write_report
from jetlane.tasks.run.facts import FAILED, StepFacts

pytestmark = pytest.mark.skipif(
    chromium.program() is None, reason="Debian's chromium is not installed (.ci/run does it)"
)
PAGES = ("report", "stopped", "fleet", "empty-fleet", "data", "evaluation")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each page."""
    folder = tmp_path_factory.mktemp("pages")
    facts = whole_facts(folder)
    stopped = replace(
        facts,
        steps=(StepFacts("train", FAILED, note="the loss is not a number"),),
        devices=(),
        release_path="",
        gate={},
    )
    spec = {"name": "parts", "dataset": {"voc": str(flawed_folder(folder / "parts"))}}
    with shown_data(RunSpec.model_validate({**spec, "model": {"width": 160, "height": 160}})) as shown:
        write_data_page(folder / "data.html", shown)
    write_fleet_page(folder / "fleet.html", fleet())
    write_fleet_page(folder / "empty.html", FleetPage((), (), (), None, "2026-01-02T03:04:05Z"))
    (folder / "evaluation").mkdir()
    evaluated(folder / "evaluation")
    return {
        "evaluation": folder / "evaluation" / "evaluation.html",
        "report": write_report(folder / "made", facts),
        "stopped": write_report(folder / "stopped", stopped),
        "fleet": folder / "fleet.html",
        "empty-fleet": folder / "empty.html",
        "data": folder / "data.html",
    }


def evaluated(folder: Path) -> None:
    """An evaluation with a class of which one is missed and one found twice, and names that are hostile."""
    rng, names = np.random.default_rng(4), {1: "circle", 2: HOSTILE}
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.6, 0.9, 0.9]], np.float32)
    none = np.zeros(2, bool)
    samples = [
        Sample(
            f"{HOSTILE}-{number}", rng.integers(0, 256, (120, 160, 3), np.uint8), boxes, np.array([1, 2]), none, none
        )
        for number in range(3)
    ]
    truth = [GroundTruth(one.boxes, one.labels, (120, 160), one.crowd, one.difficult) for one in samples]
    found = [
        Detections(boxes[[0, 0]], [1, 1], [0.9, 0.8]),
        Detections(boxes, [1, 2], [0.7, 0.6]),
        Detections([], [], []),
    ]
    scored = coco_map.evaluated(truth, found, names)  # all of them have a score of 0.3 and more
    confusion, mistakes = wrong(scored, len(truth), names, 0.3)
    assert [(one.image, one.missed, one.false_alarms) for one in mistakes] == [(0, 1, 1), (2, 2, 0)]
    metrics = measure(scored, truth, found, names)
    origins = tuple(one.source_id for one in samples)
    made = Evaluation(
        HOSTILE, HOSTILE, names, 0.3, metrics, metrics, confusion, tuple(mistakes), origins, tuple(truth), tuple(found)
    )
    write_evaluation(folder, made, EvaluationData(HOSTILE, names, lambda: iter(samples)), draw=False)


def fleet() -> FleetPage:
    """Sixty devices, of which some failed, in three waves."""
    old, new = "shapes-" + "a" * 32, "shapes-" + "b" * 32
    states = ["failed" if number in (7, 8) else "unreachable" if number == 9 else "active" for number in range(60)]
    names = [f"line-{number % 6}-camera-nano-{number:02}" for number in range(60)]
    rows = [
        {
            "device": name,
            "runs": new if state == "active" else old,
            "state": state,
            "since": f"2026-01-02T03:{number:02}:05Z",
            "rollout": "7d1f0c2ab3",
            "reason": "" if state == "active" else f"{name}: {HOSTILE}",
        }
        for number, (name, state) in enumerate(zip(names, states))
    ]
    devices = [
        {
            "device": name,
            "wave": 1 if number == 0 else 2 if number < 10 else 3,
            "state": state,
            "since": "2026-01-02T03:04:05Z",
            "engine": "ab" * 20,
            "bytes": (17_600_000, 900, 2_000_000_000)[number % 3],
            "seconds": (201.5, 12.0, 5000.0)[number % 3],
            "reason": "",
        }
        for number, (name, state) in enumerate(zip(names, states))
    ]
    rollout = {
        "rollout": "7d1f0c2ab3",
        "operation": "rollout",
        "release": new,
        "state": "incomplete",
        "wave": "3/3",
        "devices": 60,
        "active": 57,
        "rolled_back": 0,
        "failed": 3,
        "began": "2026-01-02T03:04:05Z",
        "seconds": 4021.3,
        "reason": "",
    }
    failures = [
        {"device": names[7], "what": f"{names[7]}: the engine failed", "why": HOSTILE, "remedy": "free memory"},
        {"device": names[8], "what": f"{names[8]}: the engine failed", "why": HOSTILE, "remedy": "free memory"},
        {"device": names[9], "what": "it does not answer", "why": "timed out", "remedy": "see that it is on"},
    ]
    earlier = {**rollout, "rollout": "0123456789", "release": old, "state": "succeeded", "seconds": 95.0}
    return FleetPage(rows, [rollout, earlier], devices, rollout, "2026-01-02T05:00:00Z", failures, names[7:10])


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Chromium]:
    with judged.opened_browser() as opened:
        yield opened


@pytest.mark.parametrize("scheme", judged.SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(browser: chromium.Chromium, pages: dict[str, Path], name: str, scheme: str) -> None:
    judged.open_page(browser, pages[name], scheme)
    judged.SHOTS.mkdir(parents=True, exist_ok=True)
    browser.screenshot(judged.SHOTS / f"{name}-{scheme}.png", whole=True)
    assert judged.hidden_sections(browser) == []
    assert judged.broken_links(browser) == []
    assert judged.unreachable(browser) == []
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"
    assert judged.requests(browser, pages[name]) == []
    assert judged.errors(browser) == []


@pytest.mark.parametrize("scheme", judged.SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(
    browser: chromium.Chromium, pages: dict[str, Path], name: str, scheme: str, tmp_path: Path
) -> None:
    if not judged.AXE.exists():
        pytest.skip("axe-core is not there (`make axe`, which needs npm)")
    path = tmp_path / "page.html"  # what may run in a page is fixed; axe runs in a copy where it may
    path.write_text(pages[name].read_text().replace('http-equiv="Content-Security-Policy"', ""))
    judged.open_page(browser, path, scheme)
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert judged.violations(browser) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_telephone_and_a_printer_show_all_of_it(
    browser: chromium.Chromium, pages: dict[str, Path], name: str
) -> None:
    browser.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    try:
        judged.open_page(browser, pages[name], "light")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling of the page"
    finally:
        size = {"width": judged.WIDTH, "height": judged.HEIGHT}
        browser.send("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
    judged.open_page(browser, pages[name], "light", media="print")
    closed = "Array.from(document.querySelectorAll('details')).filter(each => each.lastElementChild"
    assert browser.run(f"{closed}.getBoundingClientRect().height === 0).length") == 0, "details are printed"


def test_captions_of_the_report_are_legible_and_apart(browser: chromium.Chromium, pages: dict[str, Path]) -> None:
    judged.open_page(browser, pages["report"], "light")
    boxes = browser.run(
        "Array.from(document.querySelectorAll('.panels svg')).map(svg => Array.from(svg.querySelectorAll('.caption'))"
        ".map(each => { const at = each.getBoundingClientRect(); return [at.left, at.top, at.right, at.bottom]; }))"
    )
    assert len(boxes) == 6 and all(len(panel) >= 3 for panel in boxes)
    for panel in boxes:
        for number, (left, top, right, bottom) in enumerate(panel):
            assert bottom - top >= 13, "as high as the text of the page, on pictures of all sizes"
            for other in panel[number + 1 :]:
                apart = other[0] >= right - 1 or other[2] <= left + 1 or other[1] >= bottom - 1 or other[3] <= top + 1
                assert apart, "one over the other"


def test_the_fleet_page_filters_and_sorts(browser: chromium.Chromium, pages: dict[str, Path]) -> None:
    judged.open_page(browser, pages["fleet"], "light")
    rows = "Array.from(document.querySelectorAll('#devices tbody tr')).filter(each => !each.hidden)"
    first = f"{rows}[0].cells[0].textContent"
    typed = "const input = document.querySelector('#devices input'); input.value = 'line-3 nano'; "
    browser.run(f"(() => {{ {typed} input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()")
    assert browser.run(f"{rows}.length") == 10
    assert "10 of 60 rows" in browser.run("document.querySelector('#devices [role=status]').textContent")
    cleared = "const input = document.querySelector('#devices input'); input.value = ''; "
    chosen = "const state = document.querySelector('#devices select'); state.value = 'failed'; "
    browser.run(f"(() => {{ {cleared} {chosen} state.dispatchEvent(new Event('input', {{bubbles: true}})); }})()")
    assert browser.run(f"{rows}.length") == 2
    browser.run("document.querySelector('#rollout th[data-column=bytes] button').click()")
    sizes = "Array.from(document.querySelectorAll('#rollout tbody tr')).map(each => each.cells[5].textContent)"
    assert [browser.run(sizes)[place] for place in (0, -1)] == ["900 B", "2.0 GB"], "by size, not by letters"
    assert browser.run("document.querySelector('#rollout th[data-column=bytes]').ariaSort") == "ascending"
    browser.run("document.querySelector('#devices select').value = ''")
    browser.run("document.querySelector('#devices form').dispatchEvent(new Event('input'))")
    for _ in range(2):
        browser.run("document.querySelector('#devices th[data-column=since] button').click()")
    assert browser.run(first) == "line-5-camera-nano-59"
    wrapped = "Array.from(document.querySelectorAll('.name, td.n')).filter(each => each.getClientRects().length > 1"
    assert browser.run(f"{wrapped} || each.offsetHeight > 60).length") == 0, "no name wraps"
    assert judged.errors(browser) == []
