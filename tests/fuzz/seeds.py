"""Sound files to be damaged: sketches of our own, and real ones where they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.damage_bytes import skeleton
from tests.tasks.converter.graph.sketches import small_ssd
from tests.tasks.converter.ssd.conftest import CONFIG
from tests.tasks.converter.uff.plugin_parameters import parameters

from jetlane.tasks.converter.graph.graph import Graph, TfShape, TfType
from jetlane.tasks.converter.graph.load import graph_from_message
from jetlane.tasks.converter.graph.protos import tensorflow_message
from jetlane.tasks.converter.graph.ssd import SsdGraph, read_ssd
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.files import uff_from_bytes, uff_to_bytes
from jetlane.tasks.converter.uff.from_graph import convert

SKETCHES: dict[str, dict[str, Any]] = {
    "sigmoid": {},
    "softmax": {"converter": "Softmax", "logit_scale": 2.0},
    "sliced": {"slice_before": True, "scales": (8.0, 12.0, 4.0, 2.0)},
}
_FPN = CONFIG.replace('"ssd_mobilenet_v2"', '"ssd_mobilenet_v1_fpn" fpn { min_level: 3 max_level: 7 }').replace(
    CONFIG[CONFIG.index("      ssd_anchor_generator {") : CONFIG.index("    post_processing")],
    "      multiscale_anchor_generator {\n        min_level: 3\n        max_level: 7\n        anchor_scale: 4.0\n"
    "        scales_per_octave: 2\n        aspect_ratios: [1.0, 2.0, 0.5]\n      }\n    }\n",
)
_PADDED = CONFIG.replace(
    "fixed_shape_resizer { height: 300 width: 300 }",
    "keep_aspect_ratio_resizer { min_dimension: 200 max_dimension: 320 pad_to_max_dimension: true }",
)
_TRAINED = """
train_config {
  batch_size: 8
  num_steps: 600
  optimizer { adam_optimizer { learning_rate { cosine_decay_learning_rate {
    learning_rate_base: 0.004
    total_steps: 600
    warmup_steps: 50
  } } } }
}
train_input_reader { label_map_path: "a" tf_record_input_reader { input_path: "b" } }
eval_input_reader { label_map_path: "a" tf_record_input_reader { input_path: "b" } }
"""
CONFIGS = {"usual": CONFIG + _TRAINED, "fpn": _FPN + _TRAINED, "padded": _PADDED + _TRAINED}

TEXTS = {
    "spec": "name: a\ndataset: {shapes: {train_images: 8}}\nmodel: {width: 300}\ntrain:\n  steps: 100\n"
    "  learning_rate: 1e-3\nverify: {threshold: 0.3}\nbuild:\n  before: [[sh, -c, 'echo x']]\n  precision: fp16\n"
    "preflight: {compute_capabilities: [8.6]}\nfleet:\n  waves: [1, 5%, 100%]\n  soak: 90s\n  ledger: sqlite:///x\n"
    "workspace: here\n",
    "inventory": "defaults: {user: jetson, key: ~/.ssh/id, tags: [lab, 1.10]}\njumps:\n  gate: {host: g, port: 2222}\n"
    "devices:\n  nano-1:\n    host: 10.0.0.5\n    port: 22\n    tags: [nano]\n    jump: gate\ngroups:\n"
    "  site-a:\n    pool: jetson-a\n    defaults: {ssh_config: false}\n    devices:\n      a-1: {host: a1}\n",
    "ansible yaml": "all:\n  vars:\n    ansible_user: jetson\n  hosts:\n    lonely:\n      ansible_host: 10.9.9.9\n"
    "  children:\n    nanos:\n      vars: {ansible_port: 2022}\n      hosts:\n        nano[01:03]:\n"
    "        orin: {ansible_ssh_private_key_file: id}\n",
    "ansible ini": "lonely ansible_host=10.9.9.9   # at the gate\n[nanos]\nnano[01:03] ansible_user=jetson\n"
    "nano05:2222 ansible_python_interpreter=/usr/bin/python3\n[site:children]\nnanos\n[site:vars]\n"
    "ansible_ssh_common_args='-o ProxyJump=ops@gate:2200'\nansible_user=all\n",
    "label map": 'item { id: 1 name: "cat" }\nitem { id: 2\n name: "dog"\n display_name: "Dog" }\nitem {\n id: 3\n'
    ' name: "bird"\n}\n',
    "selection": "tag:nano and\nnot (site-a or\nname:a-*) and\njetpack >= 4.6 and\nmodel:orin",
}


@cache
def frozen_graph(name: str, folder: str) -> bytes:
    """A frozen graph: a sketch, or a case of the golden data in ``folder``."""
    if name in SKETCHES:
        return _serialised(small_ssd(**SKETCHES[name]))
    return (Path(folder) / name / "frozen_inference_graph.pb").read_bytes()


@cache
def ssd_of(name: str, folder: str) -> tuple[Graph, SsdGraph, PluginParams]:
    """The same, understood; with parameters that fit it."""
    message = tensorflow_message("GraphDef").FromString(frozen_graph(name, folder))
    graph = graph_from_message(message)
    ssd = read_ssd(graph)
    return graph, ssd, parameters(ssd, constant=name != "sigmoid")


@cache
def uff_file(name: str, folder: str) -> bytes:
    """The same as UFF."""
    return uff_to_bytes(convert(*ssd_of(name, folder)))


@cache
def frozen_graph_skeleton(name: str, folder: str) -> Sequence[int]:
    """Places in the frozen graph that are not inside weights."""
    data = frozen_graph(name, folder)
    nodes = tensorflow_message("GraphDef").FromString(data).node
    return skeleton(data, (node.attr["value"].tensor.tensor_content for node in nodes if node.op == "Const"))


@cache
def uff_skeleton(name: str, folder: str) -> Sequence[int]:
    """Places in the UFF file that are not inside weights."""
    data = uff_file(name, folder)
    return skeleton(data, (item.blob for item in uff_from_bytes(data).message.referenced_data.values()))


def pipeline_config(name: str, folder: str) -> str:
    """A pipeline.config: one of ours, or that of a case."""
    return CONFIGS[name] if name in CONFIGS else (Path(folder) / name / "pipeline.config").read_text(encoding="utf-8")


def _serialised(graph: Graph) -> bytes:
    from jetlane.tasks.converter.dropin.messages import tensor_proto

    message = tensorflow_message("GraphDef")()
    for node in graph:
        entry = message.node.add(name=node.name, op=node.op, input=node.inputs)
        for key in node.attr_names():
            value, attribute = node.attr(key), entry.attr[key]
            if key == "value":
                attribute.tensor.CopyFrom(tensor_proto(value))
            elif isinstance(value, TfType):
                attribute.type = int(value)
            elif isinstance(value, TfShape):
                for size in value:
                    attribute.shape.dim.add(size=size)
            elif isinstance(value, list):
                attribute.list.i.extend(value)
            elif isinstance(value, bool):
                attribute.b = value
            elif isinstance(value, (int, float)):
                setattr(attribute, "i" if isinstance(value, int) else "f", value)
            else:
                attribute.s = str(value).encode()
    return bytes(message.SerializeToString())
