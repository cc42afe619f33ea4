"""The files that `jetlane init` writes: a spec, an inventory, a label map, each with comments that say what and why."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jetlane.flows.cli.starter.boards import KINDS, Board
from jetlane.flows.cli.starter.choices import SMALL_OBJECT, Choices
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from jetlane.tasks.data.survey import Origin, Survey

SPEC, INVENTORY, LABEL_MAP = "spec.yaml", "fleet.yaml", "label_map.pbtxt"
#: Classes that a comment lists.
_LISTED = 12
_EXAMPLE = Board("nano-1", "nano", "192.168.1.20", "jetson")


def spec_text(name: str, found: Survey, chosen: Choices, boards: Sequence[Board], out: Path) -> str:
    """The spec, to be written into the folder ``out``."""
    return "\n".join(
        [
            "# Written by `jetlane init`; yours to change. Keys: docs/spec.md; `jetlane spec check` shows all values.",
            f"name: {_quoted(name)}",
            "",
            *_dataset(found, chosen, out),
            "",
            *_model(chosen),
            "",
            *_training(chosen),
            "",
            *_delivery(chosen, boards),
            "",
        ]
    )


def _dataset(found: Survey, chosen: Choices, out: Path) -> Iterator[str]:
    yield f"# {found.images} labelled images, {sum(found.objects.values())} objects: {_counts(found)}."
    yield "dataset:"
    if len(found.origins) == 1:
        yield f"  {_source(found.origins[0], out)}"
    else:
        yield "  sources:"
        yield from (f"    - {_source(origin, out)}" for origin in found.origins)
    label_map = found.label_map
    if label_map is None and found.unnamed:
        label_map = out / LABEL_MAP
        yield "  # the records number their classes and name none: put the names there"
    if label_map is not None:
        yield f"  label_map: {_path(label_map, out)}"
    else:
        yield "  # Classes are numbered in alphabetical order, later ones after them. To merge names:"
        example = next(iter(found.objects))
        yield f"  # classes: {{{_quoted(example)}: [{_quoted(example)}, {_quoted('another name of it')}]}}"
    if chosen.divided:
        yield "  # Nearly the same images are never on both sides, and an image never changes sides."
        yield '  splits: {validation: "20%"}'
    else:
        yield "  # Training and validation images are those of the data's own folders or lists."
    yield "  # What is wrong with images and boxes is left out and listed; more than this share stops the run."
    yield '  max_dropped: "10%"'


def _model(chosen: Choices) -> Iterator[str]:
    yield "model:"
    yield "  architecture: ssd_mobilenet_v2  # or ssdlite_mobilenet_v2 (smaller), ssd_mobilenet_v1, ssd_inception_v2;"
    yield "  # with feature pyramids, for small objects: ssd_mobilenet_v2_fpnlite, ssd_resnet50_v1_fpn (docs/models.md)"
    pixels = chosen.small * (chosen.width * chosen.height) ** 0.5
    yield f"  # Nine objects in ten are larger than {pixels:.0f} pixels here; below {SMALL_OBJECT} few are found."
    yield f"  width: {chosen.width}"
    yield f"  height: {chosen.height}"
    why = "a narrow network, to try things out; 1.0 and 300 x 300 for a board" if chosen.trial else "the full width"
    yield f"  depth_multiplier: {chosen.depth_multiplier}  # {why}"
    told = f"the template's anchors match {chosen.matched:.0%} of the objects"
    if chosen.fit_anchors:
        yield f"  anchors: fit  # {told}: better ones are looked for"
    else:
        yield f"  anchors: given  # {told}; `fit` looks for better ones"


def _training(chosen: Choices) -> Iterator[str]:
    again = f"each of about {chosen.train} images {chosen.passes} times"
    why = "for a first look; 20000 and more make a good model" if chosen.trial else "more rarely harm"
    yield "train:"
    yield f"  steps: {chosen.steps}  # {again}; {why}"
    yield f"  batch_size: {chosen.batch_size}"
    yield f"  learning_rate: {chosen.learning_rate}"
    yield "  # A trained model to start from, of TensorFlow's detection zoo, saves most of the training:"
    yield "  # start_from: ssd_mobilenet_v2_coco_2018_03_29.tar.gz"
    yield ""
    yield "gate:"
    if chosen.trial:
        yield "  # Set the mAP@0.5 that your application needs: with 0.0 a model that is worth nothing goes live, too."
        yield "  min_map: 0.0"
    else:
        yield "  min_map: 0.5  # mAP@0.5 that a model needs to be delivered"
    yield f"  # So far below the live release a model may be: on {chosen.validation} images mAP varies by as much."
    yield f"  margin: {chosen.margin:g}"
    yield ""
    yield "verify:"
    images = f"of about {chosen.validation} validation images"
    which = f"at most: all {images}" if chosen.samples > chosen.validation else images
    yield f"  samples: {chosen.samples}  # {which}; every board repeats them"


def _delivery(chosen: Choices, boards: Sequence[Board]) -> Iterator[str]:
    real = [board for board in boards if board.kind != "virtual"]
    yield "build:"
    coarse = bool(real) and all(KINDS[board.kind].precision == "fp16" for board in real)
    later = "  # fp16 when it goes to the boards" if coarse and not chosen.delivers else ""
    yield f"  precision: {chosen.precision}{later}"
    yield ""
    yield "fleet:"
    if chosen.delivers:
        yield f"  inventory: {INVENTORY}"
        yield "  # virtual: 1  # instead: a virtual Jetson on this machine"
        return
    count = max(1, sum(board.kind == "virtual" for board in boards))
    yield "  # A virtual Jetson is a process on this machine that runs a board's own software, but for TensorRT."
    yield f"  virtual: {count}"
    yield f"  # inventory: {INVENTORY}  # instead of `virtual`: real boards, once their addresses stand there"


def inventory_text(boards: Sequence[Board]) -> str:
    """The inventory: the boards that were named, or one to be changed."""
    real = [board for board in boards if board.kind != "virtual"] or [_EXAMPLE]
    open_ = [board.name for board in real if not board.host or board is _EXAMPLE]
    lines = ["# The boards that a release goes to; all keys: docs/inventory.md."]
    if open_:
        lines.append(
            f"# To be set: the address of {', '.join(open_)}. Then name this file in {SPEC} as fleet.inventory."
        )
    lines.append("# Each board is enrolled once:")
    lines += [f"#   jetlane device enroll {board.name} --spec {SPEC} --inventory {INVENTORY}" for board in real]
    lines += ["devices:", *(f"  {board.name}: {_device(board)}" for board in real), ""]
    return "\n".join(lines)


def _device(board: Board) -> str:
    host = board.host or f"{board.name}.local"
    user = board.user or ("" if board.kind == "x86" else "jetson")
    who = f", user: {_quoted(user)}" if user else ""
    return f"{{host: {_quoted(host)}{who}, tags: [{board.kind}]}}  # {KINDS[board.kind].title}"


def label_map_text(found: Survey) -> str:
    """A label map for classes that have no names yet."""
    labels = LabelMap({number: f"class {number}" for number in found.unnamed})
    return "# The records number their classes; put the names that people and boards are to see.\n" + labels.text()


def _counts(found: Survey) -> str:
    listed = ", ".join(f"{count} {harmless(name, 60)}" for name, count in found.objects.most_common(_LISTED))
    more = len(found.objects) - _LISTED
    return listed + (f" and of {more} more classes" if more > 0 else "")


def _source(origin: Origin, out: Path) -> str:
    if origin.format != "tfrecord" or origin.path.is_file():
        return f"{origin.format}: {_path(origin.path, out)}"
    return f"tfrecord: [{', '.join(map(_quoted, _patterns(origin.path, out)))}]"


def _patterns(folder: Path, out: Path) -> list[str]:
    """Record files as patterns: the shards of one set are one."""
    from jetlane.tasks.data.readers.parsing import walk

    files = [path for path in walk(folder) if ".record" in path.name or ".tfrecord" in path.name.lower()]
    named = (glob.escape(_relative(path, out)) for path in files)
    return list(dict.fromkeys(re.sub(r"\d+-of-\d+$", "*", text) for text in named))


def _path(path: Path, out: Path) -> str:
    return _quoted(_relative(path, out))


def _relative(path: Path, out: Path) -> str:
    """From the spec's folder where that is near, so that both may move together."""
    whole, start = os.path.abspath(path), os.path.abspath(out)
    relative = os.path.relpath(whole, start)
    return whole if relative.startswith(os.path.join("..", "..")) else relative


def _quoted(text: str) -> str:
    """As YAML; only where it must in quotes."""
    if re.fullmatch(r"[A-Za-z][\w/ -]*[\w/*-]|\.", text) and text.lower() not in (
        "no",
        "yes",
        "on",
        "off",
        "true",
        "false",
        "null",
    ):
        return text
    return json.dumps(text, ensure_ascii=False)
