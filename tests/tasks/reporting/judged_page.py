"""Holds a page in a real browser against what every page of jetlane must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.flows.chromium import Chromium

ROOT = Path(__file__).resolve().parents[3]
#: `make axe` puts it there.
AXE = ROOT / ".venv" / "axe" / "axe.min.js"
#: Screenshots of the last tests, for people.
SHOTS = ROOT / "build" / "screenshots"
WIDTH, HEIGHT = 1200, 900
SCHEMES = ("light", "dark")
_SERIOUS = ("serious", "critical")


@contextmanager
def opened_browser() -> Iterator[Chromium]:
    """A browser that notes errors and requests."""
    browser = Chromium()
    try:
        for domain in ("Runtime", "Log", "Network", "Page"):
            browser.send(f"{domain}.enable")
        browser.send(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
        )
        yield browser
    finally:
        browser.close()


def open_page(browser: Chromium, page: Path | str, scheme: str, media: str = "screen") -> None:
    """Open a file, or an address, in a colour scheme; what is noted is of this page alone."""
    browser.events.clear()
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.send("Emulation.setEmulatedMedia", media=media, features=features)
    browser.open(address(page))


def address(page: Path | str) -> str:
    return page if isinstance(page, str) else page.as_uri()


def errors(browser: Chromium) -> list[object]:
    """Console errors, log entries and exceptions since the page was opened."""
    found: list[object] = []
    for event in browser.events:
        given = event["params"]
        if event["method"] == "Runtime.exceptionThrown":
            found.append(given["exceptionDetails"])
        elif event["method"] == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            found.append(given["args"])
        elif event["method"] == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            found.append(given["entry"])
    return found


def requests(browser: Chromium, page: Path | str) -> list[str]:
    """What was asked for beside the page itself."""
    sent = [event["params"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    # the browser's own first page may still be loading
    asked = [one["request"]["url"] for one in sent if one["documentURL"] == address(page)]
    return [url for url in asked if not url.startswith("data:") and url != address(page)]


def hidden_sections(browser: Chromium) -> list[str]:
    """Sections, their headings and the verdict that nobody can see."""
    every = "Array.from(document.querySelectorAll('h1, h2, .verdict, section, nav a'))"
    seen = "each.checkVisibility() && each.getBoundingClientRect().height > 0"
    return browser.run(f"{every}.filter(each => !({seen})).map(each => each.outerHTML.slice(0, 80))")


def broken_links(browser: Chromium) -> list[str]:
    """Links within the page that lead nowhere."""
    return browser.run(
        "Array.from(document.querySelectorAll('a[href^=\"#\"]')).map(each => each.getAttribute('href'))"
        ".filter(href => !document.querySelector(href))"
    )


def unreachable(browser: Chromium) -> list[str]:
    """What scrolls, opens or leads somewhere, and cannot be reached by keyboard."""
    every = "Array.from(document.querySelectorAll('summary, [tabindex], a, button, input, select'))"
    seen = f"{every}.filter(each => each.checkVisibility())"
    return browser.run(
        f"{seen}.filter(each => (each.focus(), document.activeElement !== each)).map(each => each.outerHTML)"
    )


def violations(browser: Chromium) -> list[str]:
    """What axe-core calls serious or critical: rule, help and the first elements."""
    browser.run(AXE.read_text(encoding="utf-8") + "; true")
    found = browser.run("axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]} "
        f"{one['nodes'][0].get('failureSummary', '')}"
        for one in found
        if one["impact"] in _SERIOUS
    ]
