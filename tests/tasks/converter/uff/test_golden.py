"""Real UFF files: read, written, dumped and converted again."""

from __future__ import annotations

import contextlib
import random
import re
from collections import Counter

import pytest
from tests.tasks.converter.uff.plugin_parameters import parameters

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.uff import (
    convert_graph,
    dump_text,
    parse_text,
    read_uff,
    uff_from_bytes,
    uff_to_bytes,
    write_uff,
)
from jetlane.tasks.converter.uff.from_graph import convert
from jetlane.tasks.converter.uff.model import PARSED, RAN

DUMPS = ["tdevh_tmp_v1_coco", "tdevh_tmp_v1_egohands", "tdevh_tmp_v2_coco", "tdevh_tmp_v2_egohands"]
#: Sizes of the binaries that these dumps were made from.
SIZES = {
    "tdevh_tmp_v1_coco": 27339595,
    "tdevh_tmp_v1_egohands": 22287210,
    "tdevh_tmp_v2_coco": 67790302,
    "tdevh_tmp_v2_egohands": 15388773,
}


def test_golden_pair_converts_to_an_equal_message(third_party):
    graph = load_frozen_graph(third_party / "uff" / "swc17_ppo_model.pb")
    golden = read_uff(third_party / "uff" / "swc17_ppo_model.uff")
    ours = convert_graph(graph, ["policy/output"])
    assert ours.message == golden.message
    assert [node.id for node in ours.nodes] == [node.id for node in golden.nodes]
    assert not ours.unproven


def test_a_real_file_survives_reading_and_writing(third_party, tmp_path):
    original = third_party / "uff" / "swc17_ppo_model.uff"
    uff = read_uff(original)
    write_uff(uff, tmp_path / "copy.uff")
    assert (tmp_path / "copy.uff").stat().st_size == original.stat().st_size
    assert read_uff(tmp_path / "copy.uff").message == uff.message
    assert [path.name for path in tmp_path.iterdir()] == ["copy.uff"]


@pytest.mark.parametrize("name", DUMPS)
def test_real_dumps_are_read_and_written_letter_for_letter(third_party, name):
    text = (third_party / "uff" / f"{name}.pbtxt").read_text()
    assert dump_text(parse_text(text)) == text


@pytest.mark.parametrize("name", DUMPS)
def test_the_schema_gives_the_real_files_sizes(third_party, name):
    """The weights of a dump filled up to their lengths: the binary has the size that is on record."""
    uff = parse_text((third_party / "uff" / f"{name}.pbtxt").read_text())
    for data in uff.message.referenced_data.values():
        skipped = re.fullmatch(rb"\(\.\.\.(\d+) bytes skipped\.\.\.\)", data.blob)
        if skipped:
            data.blob = b"\0" * int(skipped[1])
    assert len(uff_to_bytes(uff)) == SIZES[name]


def _shape_of(node):
    """What a node class looks like: the fields and their kinds."""
    kinds = {key: type(value).__name__ for key, value in node.fields.items() if key != "values"}
    return node.operation, tuple(sorted(kinds.items()))


@pytest.mark.parametrize(
    "case, name", [("trained_F_t215_v1_160_c3", "tdevh_tmp_v1_coco"), ("F_t215_v2_300_c90", "tdevh_tmp_v2_coco")]
)
def test_our_conversion_has_the_node_classes_of_real_ssd_files(shared_data, third_party, case, name):
    graph = load_frozen_graph(shared_data / "graphs" / case / "frozen_inference_graph.pb")
    ssd = read_ssd(graph)
    ours = convert(graph, ssd, parameters(ssd))
    real = parse_text((third_party / "uff" / f"{name}.pbtxt").read_text())
    for node in real.message.graphs[0].nodes:  # a dump has no weights to read
        if node.operation == "Const":
            del node.fields["values"]
    known = {_shape_of(node) for node in real.nodes}
    unknown = {_shape_of(node) for node in ours.nodes} - known
    assert not unknown
    assert {item.status for item in ours.evidence} <= {RAN, PARSED}
    # Behind the predictors the graphs agree in number too; in front, batch norm is folded away.
    kinds = ("Reshape", "Stack", "_NMS_TRT", "_GridAnchor_TRT", "Concat", "Input", "MarkOutput")
    operations = [[n.operation.replace("_FlattenConcat_TRT", "Concat") for n in uff.nodes] for uff in (ours, real)]
    count = [Counter(operation for operation in one if operation in kinds) for one in operations]
    assert count[0] == count[1]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\xff" * 40, "no UFF file"),
        (b"\x08\x01", "holds no UFF"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "model.uff"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=words):
        read_uff(path)


def test_text_that_is_no_dump():
    with pytest.raises(ConversionError, match="no dump"):
        parse_text("version: 1\nlayers { }")


def test_damaged_files_end_in_an_error_for_the_person(third_party):
    original = (third_party / "uff" / "swc17_ppo_model.uff").read_bytes()
    pick = random.Random(7)
    for _ in range(300):
        damaged = bytearray(original[: pick.randrange(60, 4000)] + original[-3000:])
        for _ in range(pick.randrange(1, 12)):
            damaged[pick.randrange(len(damaged))] = pick.randrange(256)
        with contextlib.suppress(ConversionError):
            len(uff_from_bytes(bytes(damaged)).nodes)
