"""docs/reference/release.md says what is in a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.pages import release_layout


def test_what_is_written_is_described_and_the_reverse(tmp_path: Path, make_release: Any, repository: Path) -> None:
    release = make_release(tmp_path)
    files = {path.relative_to(release).parts[0] for path in release.rglob("*") if path.is_file()}
    fields = set(json.loads((release / "manifest.json").read_text()))
    assert files <= set(release_layout.FILES) and fields <= set(release_layout.FIELDS)
    writers = ("tasks/bundle/release.py", "tasks/release.py", "remote/release/writer.py", "remote/agent/manifest.py")
    sources = "".join((repository / place).read_text() for place in writers)
    for name in (set(release_layout.FILES) - files) | (set(release_layout.FIELDS) - fields):
        assert f'"{name}"' in sources or name in ("manifest.sig", "deepstream"), f"nothing writes {name}"
