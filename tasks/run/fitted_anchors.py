"""How the anchors suit the data set, and the pipeline.config to train by: with fitted ones where the spec asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jetlane.tasks.run.context import Run
from jetlane.tasks.run.workspace import StepResult, digest_of, write_atomic

CODE = (
    "jetlane.tasks.run.fitted_anchors",
    "jetlane.tasks.converter.ssd",
    "jetlane.tasks.data.anchor_fit",
    "jetlane.tasks.data.anchor_grid",
    "jetlane.tasks.data.anchor_search",
)
FIT = "anchor_fit.json"


def config_of(run: Run, data: StepResult) -> str:
    """The text of the pipeline.config to train, evaluate and export by.

    Raises:
        SpecError: Spec and config do not go together; ``model.anchors: fit`` for anchors of another kind.
    """
    from jetlane.tasks.converter.ssd.config import parse
    from jetlane.tasks.data.anchor_fit import refuse_unfittable, with_anchors
    from jetlane.tasks.data.anchor_search import Anchors
    from jetlane.tasks.odapi.training_config import pipeline_config

    text = pipeline_config(run.spec, data.facts["num_classes"], data.facts["stats"]["train"]["images"])
    if run.spec.model.anchors != "fit":
        return text
    fitted = fit_of(run, data)["fitted"]
    if fitted is None:  # the config's own do as well; a config that could not be fitted is refused all the same
        refuse_unfittable(parse(text))
        return text
    chosen = fitted["anchors"]
    return with_anchors(text, Anchors(**{**chosen, "aspect_ratios": tuple(chosen["aspect_ratios"])}))


def fit_of(run: Run, data: StepResult) -> Mapping[str, Any]:
    """How the spec's own anchors suit the data set (``AnchorFit.to_json``); computed once for both.

    Raises:
        SpecError, DerivationError: The config's anchors are of no known kind.
    """
    from jetlane.tasks.odapi.training_config import pipeline_config

    text = pipeline_config(run.spec, data.facts["num_classes"])
    result = run.workspace.step(
        "anchors",
        inputs={"boxes": data.digest(data.facts["boxes"]), "pipeline_config": digest_of(_anchors_in(text))},
        params={},
        code=CODE,
        make=lambda out: _fit(data, text, out),
    )
    return result.facts


def tell_fit(run: Run, data: StepResult) -> None:
    """Note what no anchor can match, where that is more than a few; an unknown kind of anchors has nothing to tell."""
    from jetlane.specs.errors import JetlaneError
    from jetlane.tasks.data.anchor_fit import FITTED, OWN
    from jetlane.tasks.data.anchor_search import ENOUGH

    try:
        found = fit_of(run, data)
    except JetlaneError:
        return
    taken = run.spec.model.anchors == "fit"
    counted = found["with_fitted"] if taken and found["with_fitted"] else found
    run.anchor_fit = {
        **found,
        "lines": found["lines_taken" if taken else "lines"],
        "sides": counted["sides"],
        "ratios": counted["ratios"],
        "whose": OWN if counted is found else FITTED,
    }
    if found["objects"] and (found["matched"] < ENOUGH or taken):
        for line in run.anchor_fit["lines"]:
            run.note(line)


def _fit(data: StepResult, text: str, out: Path) -> Mapping[str, Any]:
    import numpy as np

    from jetlane.tasks.data.anchor_fit import fit

    placed = np.load(data.file(data.facts["boxes"]), allow_pickle=False)
    found = fit(placed[:, :4], placed[:, 4:], text)
    lines, taken = list(found.lines()), list(replace(found, taken=True).lines())
    facts = {**found.to_json(), "lines": lines, "lines_taken": taken}
    write_atomic(out / FIT, json.dumps(facts, indent=1))
    return facts


def _anchors_in(text: str) -> dict[str, str]:
    """What of a config decides on the anchors: they, the input, and the network that makes the feature maps."""
    from jetlane.tasks.converter.ssd import config

    ssd = config.parse(text).ssd
    names = ("anchor_generator", "image_resizer", "feature_extractor")
    return {name: str(getattr(ssd, name)) for name in names}
