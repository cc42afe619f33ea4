"""The boundary to a board: whatever it says passes here, and is exactly what the agent can say or a ``BoardError``."""
