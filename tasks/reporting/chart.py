"""The loss curve as an inline SVG: no script, no file beside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 28


def loss_curve(points: Sequence[tuple[int, float]]) -> str:
    """SVG of (step, total loss) pairs on a logarithmic loss axis; empty text for fewer than two finite points."""
    finite = [(step, loss) for step, loss in points if math.isfinite(loss) and loss > 0]
    if len(finite) < 2:
        return ""
    steps = [step for step, _ in finite]
    logs = [math.log10(loss) for _, loss in finite]
    first, last = min(steps), max(steps)
    low, high = min(logs), max(logs)
    spread = (high - low) or 1.0

    def x(step: float) -> float:
        return LEFT + (step - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def y(log: float) -> float:
        return TOP + (high - log) / spread * (HEIGHT - TOP - BOTTOM)

    line = " ".join(f"{x(step):.1f},{y(log):.1f}" for step, log in zip(steps, logs))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img" aria-label="training loss by step">']
    for tick in (0.0, 0.5, 1.0):
        log = low + tick * spread
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(log):.1f}" y2="{y(log):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(log) + 4:.1f}" text-anchor="end">{10**log:.3g}</text>')
        step = first + tick * (last - first)
        anchor = ("start", "middle", "end")[int(tick * 2)]
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{step:.0f}</text>')
    parts.append(f'<polyline points="{line}"/></svg>')
    return "".join(parts)
