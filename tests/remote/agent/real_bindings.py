"""Run in a process of its own, with one of NVIDIA's modules: is what a double offers, and what was called, there?

Reads {"surface", "uses"} as JSON, prints a list of what is not as the module has it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import tensorrt_bindings

_SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\)(?: -> .*)?$")


def main() -> None:
    given = json.load(sys.stdin)
    problems = list(offered(given["surface"])) + list(used(given["uses"]))
    print(json.dumps(problems))


def offered(surface: dict[str, Any]) -> Any:
    """What the double has and the module has not."""
    for owner, row in surface.items():
        kind = find(owner)
        if kind is None:
            yield f"no class {owner}"
            continue
        for name in row["attributes"]:
            if not hasattr(kind, name):
                yield f"no attribute {owner}.{name}"
        for name, value in row["members"].items():
            found = kind.__members__.get(name)
            if found is None or int(found) != value:
                yield f"{owner}.{name} is {found}, not {value}"
        for name, arguments in row["methods"].items():
            function = getattr(kind, name, None)
            if function is None:
                yield f"no method {owner}.{name}"
            elif not any(names(one)[: len(arguments)] == arguments for one in signatures(function, owner)):
                yield f"{owner}.{name} takes {signatures(function, owner)}, not {arguments}"


def used(uses: list[list[Any]]) -> Any:
    """What was called or set, and could not be so here."""
    for owner, name, how, *more in uses:
        kind = find(owner)
        thing = getattr(kind, name, None)
        if thing is None:
            yield f"{owner}.{name} was used and is not there"
        elif how == "set":
            if getattr(thing, "fset", None) is None:
                yield f"{owner}.{name} was set and cannot be"
        elif not any(binds(one, more[0], more[1:]) for one in signatures(thing, owner)):
            yield f"{owner}.{name} was called with {more}; it takes {signatures(thing, owner)}"


def find(owner: str) -> Any:
    return getattr(tensorrt_bindings, owner, None) if owner else tensorrt_bindings


def signatures(function: Any, owner: str) -> list[list[tuple[str, bool]]]:
    """(name, has a default) of each argument, for each overload; from the docstring that pybind writes."""
    found = []
    for line in (function.__doc__ or "").splitlines():
        match = _SIGNATURE.match(line.strip())
        if match and match.group(2) != "*args, **kwargs":
            rows = [(part.split(":")[0].strip(), has_default(part)) for part in split(match.group(2)) if part]
            found.append(rows[1:] if owner and rows and rows[0][0] == "self" else rows)
    return found


def names(signature: list[tuple[str, bool]]) -> list[str]:
    return [name for name, _ in signature]


def has_default(part: str) -> bool:
    return re.search(r"[^=<>!]=[^=]", re.sub(r"<[^<>]*>", "", part) + " ") is not None


def split(text: str) -> list[str]:
    """At commas outside all brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def binds(signature: list[tuple[str, bool]], positional: int, named: list[str]) -> bool:
    left = [name for name, _ in signature[positional:]]
    needed = [name for name, default in signature[positional:] if not default]
    return positional <= len(signature) and set(named) <= set(left) and set(needed) <= set(named)


if __name__ == "__main__":
    main()
