"""Utilities of all rooms: files and locks, YAML with positions, harmless text, secrets, processes."""
