"""Forward nodes that hand their input on: Identity and its kin."""

from __future__ import annotations

from jetlane.tasks.converter.graph.graph import Graph
from jetlane.tasks.converter.graph.rewrites import Applied

FORWARDING = ("Identity", "StopGradient", "CheckNumerics", "Snapshot", "PreventGradient")


def forward_identities(graph: Graph) -> Applied:
    """Make readers of an Identity read its input. The nodes stay (graph outputs are Identities), unread."""
    replacements: dict[str, str] = {}
    for node in graph.of(*FORWARDING):
        if len(node.inputs) == 1:
            replacements[node.name] = node.inputs[0]
            replacements[f"{node.name}:0"] = node.inputs[0]
    graph.redirect(replacements)
    return Applied("identities", len(replacements) // 2, "Identity nodes forwarded")
