"""The inventory: which devices there are, how each is reached, and which of them are meant."""

from jetlane.remote.inventory.devices import Device, Group, Inventory
from jetlane.remote.inventory.load import load_inventory

__all__ = ["Device", "Group", "Inventory", "load_inventory"]
