"""Damaged files of every kind a user gives: they are taken, or refused in words; no other error, no hang, no bomb.

Cases are drawn by hypothesis, the same ones in every run. Each failure is shown with its case, which
``python -m tests.fuzz.worker`` repeats.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tests.fuzz import damage_bytes, damage_config, damage_graph, damage_text, damage_uff
from tests.fuzz.numbers import NUMBERS
from tests.fuzz.seeds import CONFIGS, SKETCHES, TEXTS
from tests.fuzz.worker_harness import WorkerHarness
from tests.tasks.converter.graph.sketches import case_folder, case_names
from tests.tasks.data.exporters import EXPORTERS

SEED = 3
_KINDS = {"graph": damage_graph.KINDS, "uff": damage_uff.KINDS, "config": damage_config.KINDS}
_ROADS = {
    "graph": ["convert", "convert", "convert", "model", "command"],
    "uff": ["lower", "lower", "lower", "text"],
    "config": ["derive", "graph", "train"],
}
#: Small ones that differ in era, batch norm, pyramids, Keras.
_REAL = ["F_t215_v1ppn_160_c3", "C_t15_v1fpn_160_c3", "G17_t12_v1_160_c3_min05", "G18a_t12_lite_v2_160_c3",
         "TF2_v2keras_160_c3", "C_t15_v2_keeppad_224_c3", "F_t215_v1fpn_160_c3", "E_t15_v3small_160_c3",
         "E_t15_v1_strides_300_c3", "F_t215_v2_softmax_160_c3", "C_t15_qat_v2_160_c3"]  # fmt: skip


@pytest.fixture(scope="module")
def harness(repository, tmp_path_factory):
    with WorkerHarness(repository, tmp_path_factory.mktemp("fuzz")) as harness:
        yield harness


@pytest.fixture(scope="module")
def real():
    """(cases, their folder): none and nothing where the golden data is absent."""
    names = set(case_names())
    return [name for name in _REAL if name in names], str(case_folder())


def cases(consumer: str, real: tuple[list[str], str], share: int) -> st.SearchStrategy[dict[str, Any]]:
    """Cases of one consumer; one in ``share`` damages a real file, if there are any."""
    names, folder = real
    own = list(CONFIGS if consumer == "config" else SKETCHES)
    place = st.integers(0, 1_000_000)

    def steps(kinds: tuple[str, ...]) -> st.SearchStrategy[Any]:
        step = st.tuples(st.sampled_from(kinds), place, place, st.sampled_from(NUMBERS))
        alone = st.lists(step, min_size=1, max_size=1)  # one fault comes farther than four
        return st.one_of(alone, alone, st.lists(step, min_size=2, max_size=4))

    def whole(road: str, bytewise: bool) -> st.SearchStrategy[dict[str, Any]]:
        kinds = _KINDS[consumer]
        if consumer == "uff" and road == "text":
            kinds, bytewise = damage_config.KINDS, False
        elif bytewise:
            kinds = damage_bytes.KINDS
        seeds = st.integers(0, share - 1).flatmap(lambda n: st.sampled_from(names if names and n == 0 else own))
        return st.fixed_dictionaries(
            {"consumer": st.just(consumer), "folder": st.just(folder), "road": st.just(road),
             "bytes": st.just(bytewise), "seed": seeds, "steps": steps(kinds)}
        )  # fmt: skip

    return st.tuples(st.sampled_from(_ROADS[consumer]), st.booleans()).flatmap(lambda drawn: whole(*drawn))


def texts() -> st.SearchStrategy[dict[str, Any]]:
    """Cases of what a person writes: specs, inventories, label maps, selections."""
    place = st.integers(0, 1_000_000)

    def whole(bytewise: bool) -> st.SearchStrategy[dict[str, Any]]:
        kinds = damage_bytes.KINDS if bytewise else damage_text.KINDS
        step = st.tuples(st.sampled_from(kinds), place, place, st.sampled_from(NUMBERS))
        return st.fixed_dictionaries(
            {"consumer": st.just("text"), "folder": st.just(""), "bytes": st.just(bytewise),
             "seed": st.sampled_from(list(TEXTS)), "steps": st.lists(step, min_size=1, max_size=3)}
        )  # fmt: skip

    return st.sampled_from([False, False, False, True]).flatmap(whole)


def datasets() -> st.SearchStrategy[dict[str, Any]]:
    """Cases of data sets: a label file, as text or as bytes, or the beginning of an image."""
    place = st.integers(0, 1_000_000)

    def whole(kind: str) -> st.SearchStrategy[dict[str, Any]]:
        kinds = damage_text.KINDS if kind == "text" else damage_bytes.KINDS
        step = st.tuples(st.sampled_from(kinds), place, place, st.sampled_from(NUMBERS))
        return st.fixed_dictionaries(
            {"consumer": st.just("dataset"), "folder": st.just(""), "bytes": st.just(kind != "text"),
             "image": st.just(kind == "image"), "file": st.integers(0, 20), "seed": st.sampled_from(list(EXPORTERS)),
             "steps": st.lists(step, min_size=1, max_size=3)}
        )  # fmt: skip

    return st.sampled_from(["text", "text", "bytes", "image"]).flatmap(whole)


def fuzz(harness: WorkerHarness, strategy: st.SearchStrategy[dict[str, Any]], count: int) -> dict[str, Any]:
    """Run so many cases; fail with one case of each kind of failure.

    Returns:
        The most that a case took: ``seconds`` of processor time, ``peak`` bytes held, ``grown`` bytes by itself.
    """
    outcomes: Counter[str] = Counter()
    failures: dict[str, tuple[int, str]] = {}
    worst = {"seconds": 0.0, "peak": 0, "grown": 0}

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def attempt(case: dict[str, Any]) -> None:
        result = harness.run(case)
        outcomes[result["outcome"]] += 1
        for key in worst:
            worst[key] = max(worst[key], result[key])
        if result["outcome"] == "wrong":
            story = f"{json.dumps(case)}\n{result['text']}"
            site = _site(result["text"])
            times, first = failures.get(site, (0, story))
            failures[site] = (times + 1, min(first, story, key=len))
            if not times:
                print(story, flush=True)
        if sum(outcomes.values()) % 500 == 0:
            print(_figures(outcomes, worst), flush=True)

    attempt()
    print(f"seed {SEED}: {_figures(outcomes, worst)}")
    stories = [f"{times} times:\n{story}" for times, story in failures.values()]
    assert not stories, f"{len(stories)} ways to fail\n\n" + "\n\n".join(stories)
    assert sum(outcomes.values()) >= count
    assert min(outcomes["done"], outcomes["refused"]) > count // 50, outcomes
    return worst


def _site(text: str) -> str:
    """What tells failures apart: the last line of code, and the exception's name."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', text)
    last = [line for line in text.splitlines() if line.strip()][-1:]
    return f"{frames[-1] if frames else ''} {last[0].split(':')[0] if last else ''}"


def _figures(outcomes: Counter[str], worst: dict[str, Any]) -> str:
    return (
        f"{sum(outcomes.values())} cases, {dict(outcomes)}; the slowest took {worst['seconds']:.2f} s of processor "
        f"time, the largest {worst['peak'] >> 20} MiB"
    )


@pytest.mark.parametrize("consumer", ["graph", "uff", "config"])
def test_damaged_files_are_read_or_refused(harness, real, consumer):
    fuzz(harness, cases(consumer, real, share=8), 200)


#: What is damaged: (cases, how many in short, seconds and bytes that one may take). One text that a person wrote, or a
#: data set of three images; the machine may be busy, and the first case imports everything.
SMALL = {"texts": (texts, 300, 3.0, 300 << 20), "data sets": (datasets, 500, 5.0, 400 << 20)}


@pytest.mark.parametrize("what", SMALL)
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_damaged_texts_and_data_sets_are_read_or_refused(harness, what, many):
    made, few, seconds, peak = SMALL[what]
    worst = fuzz(harness, made(), 10_000 if many else few)
    assert worst["seconds"] < seconds and worst["grown"] < peak, worst


@pytest.mark.slow
@pytest.mark.parametrize("consumer", ["graph", "uff", "config"])
def test_many_damaged_files(harness, real, consumer):
    fuzz(harness, cases(consumer, real, share=8), 10_000)


def test_the_harness_catches_what_it_must(harness):
    """A case that hangs, one that waits for memory it must not have, one that fails: each is named; then it goes on."""
    wanted = {"hang": "processor time", "bomb": "MemoryError", "hidden bomb": "MemoryError", "crash": "ZeroDivision"}
    for steps, says in wanted.items():
        result = harness.run({"consumer": "harness", "folder": "", "steps": steps, "seconds": 1})
        assert result["outcome"] == "wrong" and says in result["text"], result
    assert harness.run({"consumer": "harness", "folder": "", "steps": "refuse"})["outcome"] == "refused"
