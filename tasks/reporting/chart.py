"""Curves as inline SVG: no script, no file beside the page. Texts are of the sizes that the page's style sheet sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import escape

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 28
#: A precision-recall curve's side.
SMALL = 150
Points = Sequence[tuple[float, float]]


def loss_curve(points: Points) -> str:
    """SVG of (step, total loss) pairs on a logarithmic loss axis; empty text for fewer than two finite points."""
    finite = [(step, math.log10(loss)) for step, loss in points if math.isfinite(loss) and loss > 0]
    if len(finite) < 2:
        return ""
    logs = [log for _, log in finite]
    words = f"training loss by step: {10 ** logs[0]:.3g} at step {finite[0][0]:g}, {10 ** logs[-1]:.3g} at the end"
    return _chart([finite], (min(logs), max(logs)), lambda log: f"{10**log:.3g}", words)


def validation_curve(points: Sequence[tuple[int, float, float]]) -> str:
    """SVG of (step, mAP, mAP@0.5) of checkpoints; empty text without any."""
    if not points:
        return ""
    best = max(points, key=lambda point: point[2])
    words = f"validation mAP and mAP@0.5 by step: mAP@0.5 is at most {best[2]:.3f}, at step {best[0]}"
    series = [[(step, map50) for step, _, map50 in points], [(step, mean) for step, mean, _ in points]]
    return _chart(series, (0.0, 1.0), lambda value: f"{value:.1f}", words, dots=True)


def _chart(
    series: Sequence[Points], span: tuple[float, float], shown: Callable[[float], str], words: str, dots: bool = False
) -> str:
    steps = [step for points in series for step, _ in points]
    first, last = min(steps), max(steps)
    low, high = span
    spread = (high - low) or 1.0

    def x(step: float) -> float:
        return LEFT + (step - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / spread * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img" aria-label="{escape(words)}">']
    for tick in (0.0, 0.5, 1.0):
        value = low + tick * spread
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{shown(value)}</text>')
        step = first + tick * (last - first)
        anchor = ("start", "middle", "end")[int(tick * 2)]
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{step:.0f}</text>')
    for number, points in enumerate(series):
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline class="line-{number}" points="{line}"/>')
        if dots:
            parts += [
                f'<circle class="line-{number}" cx="{x(step):.1f}" cy="{y(value):.1f}" r="3"/>'
                for step, value in points
            ]
    return "".join([*parts, "</svg>"])


def precision_recall(precision: Sequence[float], words: str) -> str:
    """SVG of precision at evenly spaced recalls from 0 to 1, both axes from 0 to 1."""
    side, edge = SMALL, 4
    inner = side - 2 * edge
    last = max(len(precision) - 1, 1)
    points = [(edge + index / last * inner, edge + (1 - value) * inner) for index, value in enumerate(precision)]
    line = " ".join(f"{x:.0f},{y:.1f}" for x, y in points)
    parts = [f'<svg viewBox="0 0 {side} {side}" class="pr" role="img" aria-label="{escape(words)}">']
    parts.append(f'<rect class="frame" x="{edge}" y="{edge}" width="{inner}" height="{inner}"/>')
    for part in (0.25, 0.5, 0.75):
        at = edge + part * inner
        parts.append(f'<path class="grid" d="M{edge} {at:.1f}h{inner}M{at:.1f} {edge}v{inner}"/>')
    return "".join([*parts, f'<polyline class="line-0" points="{line}"/></svg>'])
