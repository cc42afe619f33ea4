"""Failures a person can do something about."""


class JobError(Exception):
    """What happened, why, and what to do about it; the parent raises it as its own TrainingError."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why, remedy)
        self.what, self.why, self.remedy = what, why, remedy
