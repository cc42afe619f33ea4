"""What is done with a damaged file: all that the product does with one a user gives it.

Each function takes a case and its folder of golden data, and ends with nothing or an exception.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fuzz import damage_bytes, damage_config, damage_graph, damage_text, damage_uff, seeds
from tests.fuzz.datasets import dataset
from tests.tasks.converter.uff.plugin_parameters import parameters

Case = dict[str, Any]


def graph(case: Case, folder: str) -> None:
    """A frozen graph: conversion with its pipeline.config, conversion whatever it says, or NVIDIA's command."""
    from jetlane.tasks.converter.graph.load import load_frozen_graph
    from jetlane.tasks.converter.graph.protos import tensorflow_message

    name, data = case["seed"], seeds.frozen_graph(case["seed"], folder)
    if case["bytes"]:
        data = damage_bytes.damage(data, seeds.frozen_graph_skeleton(name, folder), case["steps"])
    else:
        message = tensorflow_message("GraphDef").FromString(data)
        damage_graph.damage(message, case["steps"])
        data = bytes(message.SerializeToString())
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "frozen_inference_graph.pb"
        path.write_bytes(data)
        if case["road"] == "command":
            _command(path)
        elif case["road"] == "model" and name not in seeds.SKETCHES:
            _convert_model(path, Path(folder) / name / "pipeline.config")
        else:
            _convert(load_frozen_graph(path))


def _command(path: Path) -> None:
    from jetlane.tasks.converter.dropin.from_tensorflow import from_tensorflow_frozen_model

    out = path.with_suffix(".uff")
    from_tensorflow_frozen_model(path, quiet=True, text=True, output_filename=out, debug_mode=True)


def _convert_model(frozen_graph: Path, pipeline_config: Path) -> None:
    from jetlane.tasks.converter.convert import convert_model, explain_model
    from jetlane.tasks.converter.explain import as_text

    as_text(explain_model(frozen_graph, pipeline_config))
    convert_model(frozen_graph, pipeline_config, frozen_graph.parent / "out")


def _convert(damaged: Any) -> None:
    """As far as it goes: with parameters that fit the graph, so that nothing is refused for contradicting them."""
    from jetlane.tasks.converter.explain import as_text, explain
    from jetlane.tasks.converter.graph.ssd import read_ssd
    from jetlane.tasks.converter.lowering.lower import lower
    from jetlane.tasks.converter.uff.files import uff_from_bytes, uff_to_bytes
    from jetlane.tasks.converter.uff.from_graph import convert
    from jetlane.tasks.converter.uff.text import dump_text

    ssd = read_ssd(damaged)
    params = parameters(ssd, constant=True)
    uff = convert(damaged, ssd, params)
    as_text(explain(damaged, ssd, params, uff))
    dump_text(uff)
    written = uff_from_bytes(uff_to_bytes(uff))
    for ends in ("nms", "heads"):
        lower(written, params, ends=ends).SerializeToString()


def uff(case: Case, folder: str) -> None:
    """A UFF file: nodes, text dump and back, lowering to ONNX; or a text dump."""
    from jetlane.tasks.converter.lowering.lower import lower
    from jetlane.tasks.converter.uff.files import read_uff, uff_from_bytes, uff_to_bytes
    from jetlane.tasks.converter.uff.text import dump_text, parse_text

    name, data = case["seed"], seeds.uff_file(case["seed"], folder)
    whole = uff_from_bytes(data)
    if case["road"] == "text":
        text = damage_config.damage(dump_text(whole), case["steps"])
        parse_text(text).nodes  # noqa: B018
        return
    if case["bytes"]:
        data = damage_bytes.damage(data, seeds.uff_skeleton(name, folder), case["steps"])
    else:
        damage_uff.damage(whole.message, case["steps"])
        data = uff_to_bytes(whole)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.uff"
        path.write_bytes(data)
        damaged = read_uff(path)
    parse_text(dump_text(damaged))
    params = seeds.ssd_of(name, folder)[2]
    for ends in ("nms", "heads"):
        lower(damaged, params, ends=ends).SerializeToString()


def config(case: Case, folder: str) -> None:
    """A pipeline.config: the plugins' parameters, alone or held against the graph; what a training makes of it."""
    from jetlane.tasks.converter.ssd import config as pipeline_config
    from jetlane.tasks.converter.ssd.crosscheck import crosscheck, graph_anchors
    from jetlane.tasks.converter.ssd.derive import derive
    from jetlane.tasks.converter.ssd.options import ConvertOptions, apply_options
    from jetlane.tasks.odapi.pipeline import overlay

    text = seeds.pipeline_config(case["seed"], folder)
    if case["bytes"]:
        data = text.encode()
        data = damage_bytes.damage(data, range(len(data)), case["steps"])
    else:
        data = damage_config.damage(text, case["steps"]).encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pipeline.config"
        path.write_bytes(data)
        if case["road"] == "train":
            overlay(path, num_classes=3)
            return
        read = pipeline_config.read(path)
    if case["road"] == "graph" and case["seed"] not in seeds.CONFIGS:
        ssd = seeds.ssd_of(case["seed"], folder)[1]
        params = crosscheck(read, derive(read, ssd.feature_map_shapes), ssd)
        params = apply_options(ConvertOptions(normalize="engine"), params, graph_anchors(ssd))
    else:
        params = apply_options(ConvertOptions(), derive(read))
    type(params).from_json(replace(params).to_json())


def text(case: Case, folder: str) -> None:
    """A spec, an inventory, an Ansible inventory, a label map, an expression that chooses devices."""
    from jetlane.specs.errors import JetlaneError
    from jetlane.specs.support.text import is_harmless

    whole = seeds.TEXTS[case["seed"]]
    if case["bytes"]:
        data = damage_bytes.damage(whole.encode(), range(len(whole)), case["steps"])
    else:
        data = damage_text.damage(whole, case["steps"]).encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "hosts"
        path.write_bytes(data)
        try:
            _READERS[case["seed"]](path)
        except JetlaneError as error:
            assert is_harmless(str(error), lines=True) and len(str(error)) < 30_000
            raise


def _spec(path: Path) -> None:
    import json

    from jetlane.specs.load import load_spec

    spec = load_spec(path)
    json.dumps(spec.model_dump(mode="json"), allow_nan=False).encode()


def _inventory(path: Path) -> None:
    from jetlane.remote.inventory import load_inventory
    from jetlane.specs.support.text import is_harmless

    for device in load_inventory(path).devices:
        assert is_harmless(f"{device.name}{device.address}{device.user}{device.key}{device.tags}{device.root}")


def _ansible(path: Path) -> None:
    from jetlane.remote.inventory.ansible import from_ansible
    from jetlane.specs.support.text import is_harmless

    written, notes = from_ansible(path)
    assert is_harmless(written, lines=True) and is_harmless("".join(notes))


def _label_map(path: Path) -> None:
    from jetlane.specs.support.text import is_harmless
    from jetlane.tasks.data.labels import read_label_map

    assert all(is_harmless(name) for name in read_label_map(path).names.values())


def _selection(path: Path) -> None:
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices

    inventory = path.with_name("inventory.yaml")
    inventory.write_text(seeds.TEXTS["inventory"])
    select_devices(load_inventory(inventory), path.read_text(errors="surrogateescape"), {})


_READERS: dict[str, Callable[[Path], None]] = {
    "spec": _spec,
    "inventory": _inventory,
    "ansible yaml": _ansible,
    "ansible ini": _ansible,
    "label map": _label_map,
    "selection": _selection,
}


def harness(case: Case, folder: str) -> None:
    """What must not pass unseen, to try the limits themselves."""
    from jetlane.specs.errors import JetlaneError

    if case["steps"] == "hang":
        while True:
            pass
    elif case["steps"] == "crash":
        1 / 0  # noqa: B018
    elif case["steps"] == "bomb":
        bytearray(1 << 30)
    elif case["steps"] == "hidden bomb":
        try:
            bytearray(1 << 30)
        except MemoryError as error:
            raise JetlaneError("it cannot be read") from error
    raise JetlaneError("it cannot be read")


CONSUMERS: dict[str, Callable[[Case, str], None]] = {
    "graph": graph,
    "uff": uff,
    "config": config,
    "text": text,
    "dataset": dataset,
    "harness": harness,
}
