"""Whose releases this board takes, and which."""
