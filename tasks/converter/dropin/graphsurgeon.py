"""Stands in for ``graphsurgeon``: its documented names."""

from __future__ import annotations

from jetlane.tasks.converter.dropin.dynamic_graph import DynamicGraph
from jetlane.tasks.converter.dropin.nodes import create_node, create_plugin_node, update_node
from jetlane.tasks.converter.dropin.static_graph import StaticGraph

__version__ = "0.4.6"

__all__ = ["DynamicGraph", "StaticGraph", "create_node", "create_plugin_node", "update_node"]
