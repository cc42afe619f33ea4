"""Netron's own parser, an independent reading of the format, opens every file we write."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.tasks.converter.graph.sketches import case_names, small_ssd
from tests.tasks.converter.uff.plugin_parameters import parameters

from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.uff import dump_text, write_uff
from jetlane.tasks.converter.uff.from_graph import convert

_SCRIPT = """
import fs from 'fs';
import './base.js';
import { ModelFactory } from './uff.js';
import * as protobuf from './protobuf.js';
import * as proto from './uff-proto.js';
const results = {};
for (const file of process.argv.slice(2)) {
    const bytes = new Uint8Array(fs.readFileSync(file));
    const text = file.endsWith('.pbtxt');
    const open = () => text ? protobuf.TextReader.open(bytes) : protobuf.BinaryReader.open(bytes);
    const context = {
        identifier: file.split('/').pop(),
        tags: async () => open().signature(),
        set: (type) => { context.type = type; return type; },
        require: async () => proto,
        read: async () => open(),
        metadata: async () => ({ type: (name) => ({ name }), attribute: () => null })
    };
    const factory = new ModelFactory();
    const match = await factory.match(context);
    const model = await factory.open(context);
    const graph = model.modules[0];
    const counts = {};
    for (const node of graph.nodes) {
        counts[node.type.name] = (counts[node.type.name] || 0) + 1;
    }
    const shapes = graph.nodes.flatMap((node) => node.inputs).flatMap((input) => input.value)
        .filter((value) => value.initializer).map((value) => [value.name, value.initializer.type.toString()]);
    results[file] = { match, format: model.format, imports: model.imports, counts, shapes: Object.fromEntries(shapes) };
}
console.log(JSON.stringify(results));
"""


@pytest.fixture(scope="module")
def read_with_netron(tmp_path_factory):
    found = importlib.util.find_spec("netron")
    node = shutil.which("node")
    if found is None or found.origin is None or node is None:
        pytest.skip("netron (Python package) and node are needed")
    folder = tmp_path_factory.mktemp("netron")
    for name in ("base.js", "uff.js", "uff-proto.js", "protobuf.js", "text.js"):
        shutil.copy(Path(found.origin).parent / name, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "read.js").write_text(_SCRIPT)

    def read(paths):
        done = subprocess.run(
            [node, str(folder / "read.js"), *map(str, paths)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


def _check(uff, binary, text):
    operations = [node.operation for node in uff.nodes]
    for found, kind in ((binary, "uff.pb"), (text, "uff.pbtxt")):
        assert found["match"] == kind
        assert found["format"] == "UFF v1" and found["imports"] == ["tensorflow_extension v1", "custom v1"]
        for operation in set(operations) - {"Const", "Input", "MarkOutput"}:
            assert found["counts"][operation] == operations.count(operation)
    constants = {node.id: node.fields["values"] for node in uff.nodes if node.operation == "Const"}
    for name, described in binary["shapes"].items():
        assert described == {"float32": "float32", "int32": "int32"}[str(constants[name].dtype)] + (
            f"[{','.join(map(str, constants[name].shape))}]" if constants[name].shape else ""
        )
    assert binary["shapes"]


def test_netron_reads_a_small_ssd(read_with_netron, tmp_path):
    graph = small_ssd("Softmax")
    ssd = read_ssd(graph)
    uff = convert(graph, ssd, parameters(ssd))
    binary, text = tmp_path / "small.uff", tmp_path / "small.pbtxt"
    write_uff(uff, binary)
    text.write_text(dump_text(uff))
    found = read_with_netron([binary, text])
    _check(uff, found[str(binary)], found[str(text)])


def test_netron_reads_every_real_graph_we_convert(read_with_netron, shared_data, tmp_path):
    written = {}
    for case in case_names():
        graph = load_frozen_graph(shared_data / "graphs" / case / "frozen_inference_graph.pb")
        ssd = read_ssd(graph)
        uff = convert(graph, ssd, parameters(ssd, constant=len(ssd.heads) == 5))
        binary, text = tmp_path / f"{case}.uff", tmp_path / f"{case}.pbtxt"
        write_uff(uff, binary)
        text.write_text(dump_text(uff))
        written[binary, text] = uff
    found = read_with_netron([path for pair in written for path in pair])
    for (binary, text), uff in written.items():
        _check(uff, found[str(binary)], found[str(text)])
