"""docs/spec.md says what the schema says."""

from __future__ import annotations

from pathlib import Path

from jetlane.specs.document import document


def test_page_is_made_from_the_schema(repository: Path) -> None:
    page = (repository / "docs" / "spec.md").read_text()
    assert page == document(), "make it again: python -m jetlane.specs.document > docs/spec.md"
