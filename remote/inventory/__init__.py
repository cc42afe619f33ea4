"""The inventory: which devices there are, how each is reached, and which of them are meant."""

from jetlane.remote.inventory.load import load_inventory
from jetlane.remote.inventory.model import Device, Group, Inventory

__all__ = ["Device", "Group", "Inventory", "load_inventory"]
