"""Every flaw of a data set is told with its place, and what is whole stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tasks.data.drawn import picture
from tests.tasks.data.exporters import EXPORTERS
from tests.tasks.data.flaws import BOXES, FLAWS, IMAGES, Flaw, whole
from tests.tasks.data.test_formats import read

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import is_harmless
from jetlane.tasks.data.findings import KINDS
from jetlane.tasks.data.findings_report import lines
from jetlane.tasks.data.source import default_policy


@pytest.mark.parametrize("flaw", FLAWS, ids=[f"{flaw.format}: {flaw.what}" for flaw in FLAWS])
def test_flaw(flaw: Flaw, tmp_path: Path) -> None:
    EXPORTERS[flaw.format](whole(picture), tmp_path)
    flaw.edit(tmp_path)
    if flaw.kind == "refused":
        with pytest.raises(DatasetError) as caught:
            read(flaw.format, tmp_path, strict=True)
        assert flaw.says in str(caught.value) and caught.value.remedy
        return
    made = read(flaw.format, tmp_path, strict=True)
    told = [f"{each.where}: {each.message}" for each in made.findings if each.kind == flaw.kind]
    assert any(flaw.says in text for text in told), made.findings
    assert (len(made.images), sum(len(each.objects) for each in made.images)) == (flaw.images, flaw.boxes), (
        made.findings
    )
    others = {each.kind for each in made.findings} - {flaw.kind, "no_box", "image_found", "unlabelled_image"}
    assert not {kind for kind in others if KINDS[kind].default == "drop"}, made.findings
    assert all(is_harmless(line) for line in lines(made.findings, default_policy()))


@pytest.mark.parametrize("name", sorted({flaw.format for flaw in FLAWS}))
def test_nothing_is_told_of_what_is_whole(name: str, tmp_path: Path) -> None:
    EXPORTERS[name](whole(picture), tmp_path)
    made = read(name, tmp_path, strict=True)
    assert not [each for each in made.findings if each.kind != "image_found"]
    assert (len(made.images), sum(len(each.objects) for each in made.images)) == (IMAGES, BOXES)


def test_there_are_enough() -> None:
    assert len(FLAWS) >= 80
