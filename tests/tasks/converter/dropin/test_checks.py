"""Each known error of a conversion is met before anything is written, with the catalogue's cause and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tasks.converter.dropin.scripts import ANCHOR, script

from jetlane.specs.catalogue import entry
from jetlane.specs.errors import JetlaneError
from jetlane.tasks.converter.dropin import graphsurgeon as gs
from jetlane.tasks.converter.dropin import uff
from jetlane.tasks.converter.dropin.originals import forget
from jetlane.tasks.converter.uff import uff_from_bytes

GRAPH = "trained_F_t215_v2_160_c3"
_SQUEEZE = "    dynamic_graph.forward_inputs(dynamic_graph.find_node_inputs_by_name"
_CUT = "dynamic_graph['FeatureExtractor/MobilenetV2/expanded_conv_2/add'].input.pop()"


@pytest.fixture
def convert(case: Any, tmp_path: Path) -> Any:
    def run(replaced: tuple[str, str] = ("", ""), outputs: str = "NMS", **changed: object) -> Any:
        known = case(GRAPH)
        text = script(known.plugins, **changed)
        assert replaced[0] in text
        (tmp_path / "config.py").write_text(text.replace(*replaced) if replaced[0] else text)
        return uff.from_tensorflow_frozen_model(
            known.frozen, [outputs], tmp_path / "config.py", quiet=True, output_filename=tmp_path / "model.uff"
        )

    return run


_BOXES, _SCORES = '"concat": concat_box_loc,', '"concat_1": concat_box_conf,'
_PRIORS, _AXIS = '"Concatenate": concat_priorbox,', 'op="ConcatV2", dtype=tf.float32, axis=2'

# Each row: the catalogue's entry, what the message names, what is wrong with the script or the call.
MISTAKES: list[tuple[str, str, dict[str, Any]]] = [
    ("cast-left", "Cast 'Cast'", {"cast": ""}),
    (
        "left-over-operation",
        "TensorArrayGatherV3 'Preprocessor/map/",
        {"replaced": ('"Preprocessor": Input,', ""), "unplug": "nms.input.pop()"},
    ),
    (
        "prior-count",
        "predicts 540 boxes, the priors are 918; the network's feature maps are [10, 5, 3, 2, 1, 1]",
        {"maps": [10, 8, 5, 3, 2, 1]},
    ),
    ("prior-count", "predicts 540 boxes, the priors are 460", {"ratios": [1.0, 2.0, 0.5]}),
    ("class-count", "predicts 4 scores for each box (background included), numClasses is 3", {"classes": 3}),
    ("class-count", "takes 'concat_box_conf' for the priors, but they are input 1", {"order": [0, 1, 2]}),
    (
        "class-count",
        "for its inputs concat_box_loc, concat_priorbox, concat_box_conf it is [0, 2, 1]",
        {"order": [1, 0, 2]},
    ),
    ("class-count", "takes the scores for the boxes; for its inputs", {"order": [2, 0, 1]}),
    ("class-count", "no order of three inputs", {"order": [0, 1, 1]}),
    (
        "prior-count",
        "featureMapShapes: the script has [10, 8, 5, 3, 2, 1], the model [10,",
        {"maps": [10, 8, 5, 3, 2, 1]},
    ),
    (
        "concat-mixed",
        "'concat_priorbox' joins box codes and priors: ",
        {"replaced": (_BOXES, '"concat": concat_priorbox,')},
    ),
    ("concat-mixed", "joins class scores and priors", {"replaced": (_SCORES, '"concat_1": concat_priorbox,')}),
    ("concat-mixed", "joins box codes and class scores", {"replaced": (_SCORES, '"concat_1": concat_box_loc,')}),
    ("concat-mixed", "joins box codes and priors", {"replaced": (_PRIORS, '"Concatenate": concat_box_loc,')}),
    ("concat-mixed", "'concat_priorbox' joins priors: ", {"replaced": (_AXIS, 'op="FlattenConcat_TRT"')}),
    ("anchor-without-input", "'GridAnchor' has no input", {"anchor": "anchors.input[:] = []"}),
    ("nms-inputs", "has 4 inputs, not 3: ", {"unplug": "pass"}),
    ("reshape-minus-one", "more than one unknown size", {"height": -1, "width": -1}),
    (
        "input-not-in-graph",
        "'NMS' reads 'image_tensor', which is no longer",
        {"unplug": "nms.input[3] = 'image_tensor'"},
    ),
    ("list-remove", "config.py, line 4", {"unplug": "nms.input.remove('Nothing')"}),
    ("list-index", "has 1 inputs, it needs 2", {"unplug": f"nms.input.remove('Input'); {_CUT}"}),
    ("output-not-found", "'NMSX' was not found", {"outputs": "NMSX"}),
    ("output-order", "'NMS' is not an output", {"replaced": ("    while ", "    while False and "), "outputs": "add"}),
    ("str-has-no-name", "'str' object has no attribute 'name'", {"unplug": "nms.name.name"}),
]


@pytest.mark.parametrize(
    ("name", "words", "mistake"), MISTAKES, ids=lambda part: part if isinstance(part, str) and "-" in part else ""
)
def test_a_known_mistake_is_answered(convert: Any, tmp_path: Path, name: str, words: str, mistake: Any) -> None:
    with pytest.raises(JetlaneError) as error:
        convert(**mistake)
    assert words in error.value.what
    assert (error.value.why, error.value.remedy) == (entry(name).cause, entry(name).remedy)
    assert not (tmp_path / "model.uff").exists()


def test_a_squeeze_before_the_plugin_is_warned_of(convert: Any, capsys: Any) -> None:
    """Real files have one, so scripts that leave it run; some versions of TensorRT refuse it."""
    made = uff_from_bytes(convert(replaced=(_SQUEEZE, "    (dynamic_graph.find_node_inputs_by_name")))
    assert made.node("NMS").inputs[0] == "Squeeze" and made.node("Squeeze").inputs == ("concat_box_loc",)
    said = capsys.readouterr().err
    assert "'Squeeze' stands before 'NMS'" in said and entry("plugin-squeeze").remedy in said


def test_what_newer_tensorflows_write_needs_no_script(convert: Any) -> None:
    """FusedBatchNormV3, AddV2, nodes without dtype: errors of the original tools that do not exist here."""
    made = uff_from_bytes(convert(replaced=('gs.update_node(node, op="FusedBatchNorm")', "pass")))
    plain = uff_from_bytes(convert())
    assert made.message == plain.message
    bare = uff_from_bytes(convert(replaced=('op="Placeholder", dtype=tf.float32', 'op="Placeholder"')))
    assert bare.node("Input").fields == plain.node("Input").fields


def test_a_reference_left_on_the_input_node_does_no_harm(convert: Any) -> None:
    plain = uff_from_bytes(convert())
    left = uff_from_bytes(
        convert(anchor=ANCHOR + "\n    dynamic_graph.find_nodes_by_name('Input')[0].input.append('image_tensor:0')")
    )
    assert left.message == plain.message


@pytest.fixture
def policy(third_party: Path) -> Path:
    """A frozen graph that needs no script."""
    return third_party / "uff" / "swc17_ppo_model.pb"


def convert_policy(policy: Path, script: Path, text: str) -> bytes:
    """The graph as UFF, with a script of that text."""
    script.write_text(text)
    return uff.from_tensorflow_frozen_model(policy, ["policy/output"], script, quiet=True)


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ("x = 1", "no function `preprocess`", "def preprocess"),
        ("def preprocess(graph)\n    pass", "line 1: SyntaxError", ""),
        ("raise SystemExit('not this model')", "stopped: not this model", ""),
        ("def preprocess(graph):\n\n    graph.append('x')", "a str is no node", "create_node"),
        ("import tensorflow as tf\nx = tf.Session()", "line 2: AttributeError: tensorflow.Session is not there", ""),
        ("from tensorflow.keras import layers", "line 1: ModuleNotFoundError", "docs/convert-to-uff.md"),
        ("import tensorflow.compat.v1 as tf\nimport graphsurgeon\ntf.v2", "tensorflow.v2 is not there", ""),
        (
            "import tensorrt as trt\ntrt.Builder(trt.Logger()).build_cuda_engine(None)",
            "Builder.build_cuda_engine",
            "--run",
        ),
        ("import graphsurgeon as gs\ngs.create_node('x', kind={})", "cannot have the attribute kind", "give one"),
    ],
)
def test_a_script_that_fails(policy: Path, tmp_path: Path, text: str, words: str, remedy: str) -> None:
    with pytest.raises(JetlaneError) as error:
        convert_policy(policy, tmp_path / "config.py", text)
    assert words in error.value.what and remedy in error.value.remedy


def test_a_plugin_may_have_an_operations_name(policy: Path, tmp_path: Path, capsys: Any) -> None:
    """Scripts name plugins as they like; an operation of the graph's own that no parser knows is warned of."""
    body = (
        "import graphsurgeon as gs\n"
        "def preprocess(graph):\n"
        "    graph['policy/output'].op = 'Fill'\n"
        "    graph['policy/output'].ClearField('attr')\n"
    )
    made = uff_from_bytes(convert_policy(policy, tmp_path / "config.py", body))
    assert made.node("policy/output").operation == "_Fill"
    assert capsys.readouterr().err == ""
    (tmp_path / "config.py").write_text("def preprocess(graph):\n    pass\n")
    graph = gs.DynamicGraph(policy)
    graph["policy/output"].op = "Fancy"
    graph["policy/output"].ClearField("attr")
    forget()  # so that this is the graph's own operation, not one that a script chose
    uff.from_tensorflow(graph, ["policy/output"], tmp_path / "config.py", quiet=True)
    assert "Fancy becomes the plugin _Fancy" in capsys.readouterr().err


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "frozen.pb").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(JetlaneError, match="git lfs pull"):
        uff.from_tensorflow_frozen_model(tmp_path / "frozen.pb", ["NMS"])


def test_damaged_graphs_end_in_an_error_for_the_person(policy: Path) -> None:
    import random

    whole, pick = gs.StaticGraph(policy), random.Random(11)
    refused = 0
    for _ in range(200):
        graph = gs.DynamicGraph(whole)
        for _ in range(pick.randrange(1, 5)):
            _damage(graph, pick)
        try:
            uff.from_tensorflow(graph, ["policy/output"], quiet=True)
        except JetlaneError:
            refused += 1
    assert 20 < refused < 200


def _damage(graph: Any, pick: Any) -> None:
    node, other = pick.choice(list(graph)), pick.choice(list(graph))
    ops = ("Reshape", "Conv2D", "ConcatV2", "Squeeze", "Const", "Pack", "StridedSlice", "Mean", "MaxPool", "BiasAdd")
    kind = pick.randrange(5)
    if kind == 0:
        node.op = pick.choice(ops)
    elif kind == 1 and node.attr:
        del node.attr[pick.choice(sorted(node.attr))]
    elif kind == 2 and node.input:
        node.input[pick.randrange(len(node.input))] = other.name
    elif kind == 3 and node.input:
        del node.input[-1]
    else:
        node.input.append(other.name)
