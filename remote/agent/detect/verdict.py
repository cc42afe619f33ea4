"""Whether a board finds what the workstation found, by the rules of the precision that the engine was built in."""

from typing import Any, Dict, List, Optional

from ..errors import AgentError
from .average_precision import mean_average_precision
from .matching import match


def judge(samples: List[Dict[str, Any]], tolerance: Dict[str, Any], threshold: float) -> Dict[str, Any]:
    """Match every sample's detections with the expected ones.

    Args:
        samples: ``{"file", "expected", "found", "truth", "near_ties"}``; ``truth`` (what the image shows) is None where
            unknown, and ``near_ties`` in older releases.
        tolerance: ``iou`` and ``score`` of a pair; ``matched``, the least share of detections with a partner (1 where
            not given); ``map_drop``, how much less mAP@0.5 may be (not looked at where not given).
        threshold: Detections of at least this score count.

    Returns:
        ``agreed``, counts, the extremes over all pairs, ``mAP@0.5`` (``expected``, ``found``, ``images``; None where
        nothing was compared), ``checked`` (in words), and each sample's own agreement.
    """
    rows, worst = [], []
    matched = missing = surplus = borderline = 0
    for sample in samples:
        found = sample["found"].above(threshold)
        # boxes as far from the expected ones as this precision's may be decide these otherwise
        ties = sample["near_ties"].within(1.0 - tolerance["iou"]) if sample.get("near_ties") else None
        expected = sample["expected"].above(threshold)
        agreement = match(expected, found, tolerance["iou"], tolerance["score"], threshold, ties)
        matched += len(agreement.pairs)
        missing += len(agreement.missing)
        surplus += len(agreement.surplus)
        borderline += agreement.borderline
        worst += [(pair[2], abs(pair[3])) for pair in agreement.pairs]
        rows.append(dict(found.to_json(), file=sample["file"], agreement=agreement.to_json()))
    least = float(tolerance.get("matched", 1.0))
    allowed = tolerance.get("map_drop")
    maps = _maps(samples, threshold) if allowed is not None else None
    held = _share(matched, missing) >= least and _share(matched, surplus) >= least
    fallen = maps is not None and maps["expected"] - maps["found"] > float(allowed or 0.0)
    return {
        "agreed": held and not fallen,
        "checked": _checked(tolerance, maps),
        "matched": matched,
        "missing": missing,
        "surplus": surplus,
        "borderline": borderline,
        "lowest_iou": min([pair[0] for pair in worst]) if worst else None,
        "largest_score_difference": max([pair[1] for pair in worst]) if worst else None,
        "mAP@0.5": maps,
        "tolerance": tolerance,
        "threshold": threshold,
        "samples": rows,
    }


def _share(matched: int, alone: int) -> float:
    return matched / float(matched + alone) if matched + alone else 1.0


def _maps(samples: List[Dict[str, Any]], threshold: float) -> Optional[Dict[str, Any]]:
    """mAP@0.5 of both, over the samples whose truth is known; cut at the threshold alike."""
    known = [sample for sample in samples if sample["truth"] is not None]
    truth = [sample["truth"] for sample in known]
    expected = mean_average_precision(truth, [sample["expected"].above(threshold) for sample in known])
    found = mean_average_precision(truth, [sample["found"].above(threshold) for sample in known])
    if expected is None or found is None:
        return None
    return {"expected": expected, "found": found, "images": len(known)}


def _checked(tolerance: Dict[str, Any], maps: Optional[Dict[str, Any]]) -> str:
    least = float(tolerance.get("matched", 1.0))
    text = "%s detections matched with IoU >= %g and scores within %g" % (
        "all" if least == 1.0 else "%g%% of the" % (100 * least),
        tolerance["iou"],
        tolerance["score"],
    )
    if tolerance.get("map_drop") is None:
        return text
    if maps is None:
        return text + "; mAP was not compared: what the samples show is not known"
    return text + "; mAP@0.5 at most %g lower, in %d images" % (tolerance["map_drop"], maps["images"])


def disagreement(release: str, report: Dict[str, Any], aside: str = "") -> AgentError:
    """What a report that does not agree means for the board.

    Args:
        aside: A sentence about where the engine is now.
    """
    bad = [row["file"] for row in report["samples"] if not row["agreement"]["agreed"]]
    why = "%d detections matched, %d were not found, %d were found in addition; samples: %s" % (
        report["matched"],
        report["missing"],
        report["surplus"],
        ", ".join(bad[:5]),
    )
    if report["mAP@0.5"] is not None:
        maps = report["mAP@0.5"]
        why += "; mAP@0.5 %.3f instead of %.3f" % (maps["found"], maps["expected"])
    why += "; " + aside if aside else ""
    return AgentError(
        "the engine of release %s does not find on this board what the workstation found" % release,
        why,
        "the board keeps its previous release; compare reports/%s.json on the board with the release's expected.json"
        % release,
        "disagreement",
    )
