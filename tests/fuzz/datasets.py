"""A data set in some format, one of whose files is damaged: labels, a list of classes, an image's header."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz import damage_bytes, damage_text
from tests.tasks.data.drawn import picture
from tests.tasks.data.exporters import EXPORTERS
from tests.tasks.data.flaws import whole

#: Bytes at a file's beginning that are damaged alone: headers are short, pixels are many.
_HEADER = 700


@cache
def _files(name: str) -> dict[str, bytes]:
    """A whole data set, by path."""
    with tempfile.TemporaryDirectory() as scratch:
        EXPORTERS[name](whole(picture), Path(scratch))
        found = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        return {path.relative_to(scratch).as_posix(): path.read_bytes() for path in found}


def dataset(case: dict[str, Any], folder: str) -> None:
    """Read, check and write a data set; every finding is harmless words."""
    from jetlane.specs.support.text import is_harmless
    from jetlane.tasks.data.dataset_model import Place
    from jetlane.tasks.data.detect import detect_format
    from jetlane.tasks.data.findings_report import lines, refuse
    from jetlane.tasks.data.ingest import plan
    from jetlane.tasks.data.shards import annotation, items_of
    from jetlane.tasks.data.source import LabelledSource

    files = dict(_files(case["seed"]))
    names = [name for name in files if _is_image(name) == case["image"]] or list(files)
    name = names[case["file"] % len(names)]
    if case["image"] or case["bytes"]:
        data = files[name]
        files[name] = damage_bytes.damage(data, range(min(len(data), _HEADER)), case["steps"])
    else:
        files[name] = damage_text.damage(files[name].decode("utf-8", "replace"), case["steps"]).encode(errors="replace")
    with tempfile.TemporaryDirectory() as scratch:
        for path, content in files.items():
            place = Path(scratch, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        format = case["seed"].partition("-")[0]
        detect_format(Path(scratch))
        source = LabelledSource([(format, Place(Path(scratch), shown=format))], max_side=64)
        made = plan(source)
        assert all(is_harmless(line) for line in lines(made.findings, source.policy))
        refuse(made, source.policy, 1.0)
        for item in items_of(made.images, made.labels):
            annotation(item, 64)


def _is_image(name: str) -> bool:
    return name.endswith((".jpg", ".png"))
