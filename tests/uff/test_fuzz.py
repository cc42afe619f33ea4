"""Graphs damaged in meaning, not only in bytes: they convert, or are refused in words; nothing else, and no loops."""

from __future__ import annotations

import random
import signal

import numpy as np
import pytest
from tests.graph.sketches import small_ssd
from tests.uff.by_hand import parameters

from jetlane.specs.errors import JetlaneError
from jetlane.tasks.graph.graph import const
from jetlane.tasks.graph.load import load_frozen_graph
from jetlane.tasks.graph.ssd import read_ssd
from jetlane.tasks.uff.convert import convert

_NUMBERS = (0, -1, 1, 7, 100, 10**6, 2**31 - 1)


def _change_constant(graph, node, pick):
    value = np.array(node.value)
    if value.dtype == object or not value.size:
        return
    if pick.random() < 0.5:
        number = pick.choice(_NUMBERS)
        value.reshape(-1)[pick.randrange(value.size)] = bool(number) if value.dtype == bool else number
    else:
        value = pick.choice(
            [value.reshape(-1), value[None], value.reshape(-1)[:1], value.reshape(-1)[:0], value.ravel()[0]]
        )
    graph.add(const(node.name, np.asarray(value)))


def damage(original, pick):
    """A copy with one to three faults: other operations, edges, constants, or nodes gone."""
    graph = original.copy()
    names = list(graph.nodes)
    for _ in range(pick.randrange(1, 4)):
        node = graph.nodes.get(pick.choice(names))
        kind = pick.choice(["operation", "rewire", "cut", "extra", "gone", "constant", "constant"])
        if node is None:
            continue
        if kind == "operation":
            node.op = graph[pick.choice(list(graph.nodes))].op
        elif kind == "rewire" and node.inputs:
            node.inputs[pick.randrange(len(node.inputs))] = pick.choice(names) + pick.choice(["", "", ":1", ":7"])
        elif kind == "cut" and node.inputs:
            del node.inputs[pick.randrange(len(node.inputs))]
        elif kind == "extra":
            node.inputs.insert(pick.randrange(len(node.inputs) + 1), pick.choice(names))
        elif kind == "gone":
            del graph.nodes[node.name]
        elif kind == "constant" and node.op == "Const":
            _change_constant(graph, node, pick)
    graph.changed()
    return graph


@pytest.fixture
def no_endless_loop():
    """A conversion may take ten seconds, then the test fails where it hangs."""

    def too_long(*_):
        raise TimeoutError("a conversion took more than ten seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    yield lambda: signal.alarm(10)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _try(original, rounds, seed, start):
    pick = random.Random(seed)
    refused = 0
    for _ in range(rounds):
        start()
        damaged = damage(original, pick)
        try:
            ssd = read_ssd(damaged)
            convert(damaged, ssd, parameters(ssd, constant=True))
        except JetlaneError as error:
            assert error.what
            refused += 1
    assert 0 < refused < rounds  # the damage is neither fatal always nor never


def test_small_graph(no_endless_loop):
    _try(small_ssd(), 400, 1, no_endless_loop)


@pytest.mark.parametrize("case", ["F_t215_v1ppn_160_c3", "C_t15_v1fpn_160_c3", "G17_t12_v1_160_c3_min05"])
def test_real_graphs(shared_data, case, no_endless_loop):
    graph = load_frozen_graph(shared_data / "graphs" / case / "frozen_inference_graph.pb")
    _try(graph, 25, 2, no_endless_loop)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["C_t15_v2_keeppad_224_c3", "G18a_t12_lite_v2_160_c3", "F_t215_v1fpn_160_c3", "TF2_v2keras_160_c3"]
)
def test_real_graphs_at_length(shared_data, case, no_endless_loop):
    graph = load_frozen_graph(shared_data / "graphs" / case / "frozen_inference_graph.pb")
    _try(graph, 2500, 3, no_endless_loop)
