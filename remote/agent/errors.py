"""The agent's one kind of failure, with the three parts that reach the person at the workstation."""


class AgentError(Exception):
    """A failure explained for the person who meets it.

    Args:
        what: What happened, in one line.
        why: The cause, as far as it is known.
        remedy: What to do now.
        kind: A word the workstation can act on: ``disk``, ``corrupt``, ``tampered``, ``busy``, ``backend``, ...
    """

    def __init__(self, what: str, why: str = "", remedy: str = "", kind: str = "failed") -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.kind = kind

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append("why: " + self.why)
        if self.remedy:
            lines.append("what to do: " + self.remedy)
        return "\n".join(lines)
