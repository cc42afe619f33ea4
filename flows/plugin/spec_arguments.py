"""What the Prefect plugin makes of spec files on ``prefect``'s command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from jetlane.specs.support.files import real

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

#: Options of ``prefect deployment run`` that take no value.
_SWITCHES = ("--watch", "--no-watch", "--prompt", "--no-prompt")


def starts_run(arguments: list[str]) -> bool:
    """Whether these are the arguments of ``prefect deployment run``."""
    return arguments[:2] == ["deployment", "run"]


def rewrite(arguments: list[str]) -> list[str]:
    """The arguments of ``prefect``, with spec files as JSON; anything but ``deployment run`` comes back unchanged.

    Raises:
        JetlaneError: The file is no valid spec.
    """
    if not starts_run(arguments):
        return arguments
    result, name = list(arguments), ""
    for index, word in enumerate(arguments[2:], start=2):
        before = arguments[index - 1]
        is_value = before.startswith("-") and before not in _SWITCHES and "=" not in before
        if not word.startswith("-") and not is_value and not name:
            name = word.rsplit("/", 1)[-1]
            result[index] = word if "/" in word else f"{word}/{word}"
    for index, word in enumerate(arguments[2:], start=2):
        if word.startswith("--params=") and _is_yaml(word[9:]):
            result[index] = "--params=" + _as_json(name, Path(word[9:]))
        elif arguments[index - 1] == "--params" and _is_yaml(word):
            result[index] = _as_json(name, Path(word))
    return result


def _is_yaml(text: str) -> bool:
    return text.endswith((".yaml", ".yml"))


def _as_json(deployment: str, path: Path) -> str:
    """What the deployment's flow takes: a whole spec, a spec's path, or the file's own keys."""
    if deployment == "retrain-and-deploy":
        return json.dumps(_checked(path).model_dump(mode="json", exclude_none=True))
    if deployment == "scheduled-retrain":
        _checked(path)
        return json.dumps({"spec": str(real(path))})
    from jetlane.specs.support import secrets
    from jetlane.specs.support.yaml_marks import read

    marked = read(path)
    secrets.refuse(marked.data, marked)  # Prefect keeps parameters, and shows them
    return json.dumps(marked.data)


def _checked(path: Path) -> RunSpec:
    """A spec, with what can be known of the files it names checked before anything is sent."""
    from jetlane.specs.load import load_spec
    from jetlane.tasks.run.early_checks import check_spec

    spec = load_spec(path)
    check_spec(spec)
    return spec
