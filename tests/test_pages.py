"""The pages: jetlane takes their commands and specs, generated ones are up to date, and the site is built."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import click
import pytest
from tests.flows import chromium
from tests.pages import protocol
from tests.pages.blocks import SHELL, Block, blocks_of, jetlane_commands, refuse_unknown
from tests.pages.write import FOLDER, PAGES
from tests.tasks.reporting import judged_page as judged

from jetlane.remote.inventory.load import inventory_from_text
from jetlane.remote.protocol.results import RESULTS
from jetlane.specs.errors import SpecError
from jetlane.specs.schema import RunSpec
from jetlane.specs.support.yaml_marks import parse

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [(path, block) for path in TEXTS for block in blocks_of(path)]


def named(path: Path, block: Block) -> str:
    return f"{path.relative_to(ROOT)}:{block.line}"


def test_every_command_is_one_of_jetlanes() -> None:
    wrong, count = [], 0
    for path, block in BLOCKS:
        if block.kind not in (*SHELL, ""):
            continue
        for words in jetlane_commands(block):
            count += 1
            try:
                refuse_unknown(words)
            except click.ClickException as error:
                wrong.append(f"{named(path, block)}: jetlane {' '.join(words)}: {error.format_message()}")
    assert not wrong, "\n".join(wrong)
    assert count > 40


def test_every_shell_block_is_shell() -> None:
    for path, block in BLOCKS:
        if block.kind in SHELL:
            text = "\n".join(re.sub(r"\[[^]]*\]|<\w+>", "X", line) for line in block.commands)
            done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
            assert done.returncode == 0, f"{named(path, block)}: {done.stderr}"


@pytest.mark.parametrize(
    ("path", "block"), [pytest.param(*one, id=named(*one)) for one in BLOCKS if one[1].kind == "yaml"]
)
def test_every_yaml_block_is_of_a_spec_or_an_inventory(path: Path, block: Block) -> None:
    marked = parse(block.text, path)
    data = dict(marked.data)
    if data.keys() & {"devices", "groups", "defaults"}:
        try:
            inventory_from_text(block.text, path)
        except SpecError as error:
            assert "key" not in error.what, error
    elif data.keys() <= RunSpec.model_fields.keys():
        RunSpec.model_validate({"name": "page", "dataset": {"shapes": {}}, **data})
    else:
        assert path.name in ("fleet.md", "inventory.md"), "parameters of a deployment, of a work pool, or of Ansible"


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "make them again: python -m tests.pages.write"


def test_every_command_of_the_agent_is_described() -> None:
    assert set(protocol.REQUESTS) == protocol.commands() == set(RESULTS) - {"place"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; it is not built where a link or an anchor leads nowhere."""
    program = ROOT / ".venv" / "docs" / "bin" / "mkdocs"
    if not program.exists():
        pytest.skip("MkDocs is not installed: make docs")
    out = tmp_path_factory.mktemp("built") / "site"
    done = subprocess.run(
        [program, "build", "--strict", "--site-dir", out],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_every_page_and_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    outside = re.compile(r"<(?:script|img|iframe|link)[^>]*\s(?:src|href)=.https?:[^>]*>")
    for page in pages:
        assert not outside.findall(page.read_text()), page.name


#: Each kind of page: home, tutorial, how-to, reference by hand and from the code, wide tables.
READ = {
    "index": "jetlane",
    "tutorial": "Ten minutes",
    "howto/int8": "int8",
    "reference/python": "Python",
    "spec": "spec",
    "supported-models": "known to convert",
}


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """Its address on this machine."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *said: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=site))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Chromium]:
    if chromium.program() is None:
        pytest.skip("Debian's chromium is not installed")
    with judged.opened_browser() as opened:
        yield opened


@pytest.mark.parametrize("page", READ)
def test_the_site_is_read_in_a_browser(browser: chromium.Chromium, served: str, page: str) -> None:
    """No error, no request to elsewhere, and nothing serious against axe-core, in light and dark."""
    judged.open_page(browser, f"{served}/{page}.html", "light")
    assert READ[page] in browser.run("document.querySelector('h1').innerText")
    assert browser.run("document.querySelector('.md-nav--primary, .md-tabs') !== null")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"
    judged.SHOTS.mkdir(parents=True, exist_ok=True)
    for scheme, name in (("default", "light"), ("slate", "dark")):
        # as the page's own switch does, which remembers its place from page to page
        browser.run(f"document.body.dataset.mdColorScheme = '{scheme}'")
        browser.run("document.getAnimations().forEach(each => each.finish())")
        browser.screenshot(judged.SHOTS / f"docs-{page.replace('/', '-')}-{name}.png")
        if judged.AXE.exists():
            assert judged.violations(browser) == []
    asked = judged.requests(browser, f"{served}/{page}.html")
    assert asked and not [url for url in asked if not url.startswith(served)]
    assert judged.errors(browser) == []


def test_the_site_is_dark_for_those_who_want_it_so(browser: chromium.Chromium, served: str) -> None:
    for _ in range(2):  # the choice is made, and kept, when a page is opened first
        judged.open_page(browser, f"{served}/index.html", "dark")
        browser.run("localStorage.clear()")
    browser.until("document.body.dataset.mdColorScheme === 'slate'")


def test_the_site_is_searched_in_the_browser_alone(browser: chromium.Chromium, served: str) -> None:
    judged.open_page(browser, f"{served}/index.html", "light")
    browser.run("document.querySelector('.md-search__input').focus()")
    browser.type("rollback")
    browser.until("document.querySelectorAll('.md-search-result__link').length > 3")
    assert not [url for url in judged.requests(browser, f"{served}/index.html") if not url.startswith(served)]
    assert judged.errors(browser) == []
