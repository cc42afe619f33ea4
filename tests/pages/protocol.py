"""docs/reference/agent-protocol.md: what a board's agent is asked and answers, of the models that every word passes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from jetlane.remote.agent.cli import COMMANDS, DETACHED
from jetlane.remote.device.client import LIMITS
from jetlane.remote.protocol import events
from jetlane.remote.protocol.fields import Said
from jetlane.remote.protocol.results import RESULTS

HEAD = """# The agent's protocol

The agent is one file on the board; it runs for one command and ends. Over SSH, or by hand on the board:

```console
$ echo '{"release": "shapes-0123456789ab"}' | python3 agent-DIGEST.pyz --root jetlane health
```

It reads one line of JSON, the request, and writes one line of JSON for each event. The last event is a `result` (or
`error`). The workstation takes nothing else: each line is validated by the models below, in its order and number, else
the board has failed with kind `protocol` ([trust](../trust.md)).

This page is made from these models: `python -m tests.pages.write`.
"""

#: What the request of each command holds.
REQUESTS: Mapping[str, str] = {
    "probe": "`{}`",
    "status": "`{}`",
    "health": "`{}`",
    "cancel": "`{}`",
    "keys": '`{"action": "list"}`, or `{"action": "install", "public": HEX, "replace": BOOL}`',
    "receive": (
        '`{"release": ID, "manifest_size": BYTES, "signature": TEXT}`; the manifest follows, and, after the event'
        " `need`, the bytes of each file that was needed, in that order"
    ),
    "build": '`{"release": ID, "options": {...}}`: the spec\'s `build`, as the agent calls it (`options` below)',
    "verify": '`{"release": ID, "options": {...}}`',
    "activate": '`{"release": ID, "options": {...}}`',
    "rollback": '`{"release": ID}`, or `{"release": null}` for the one that ran before',
    "bench": '`{"seconds": NUMBER, "release": ID or null}`',
    "detect": (
        '`{"release": ID or null, "count": IMAGES}`; for each image a line `{"height": PIXELS, "width": PIXELS}` and'
        " its bytes follow: RGB, row by row. Without an image it only says which release would look"
    ),
    "collect": (
        '`{"action": "list"}`, or `{"action": "send" or "remove", "frames": [ID, ...]}`. Each frame that is sent is an'
        " event `frame`, and its bytes follow that line"
    ),
    "collect-garbage": '`{"keep": COUNT, "spare": ID}`',
}


def document() -> str:
    """The page's text."""
    lines = [HEAD, "## Events", ""]
    for model in get_args(events.Event):
        lines += _model(f"`{model.model_fields['event'].annotation.__args__[0]}`", model)
    kinds = ", ".join(f"`{kind}`" for kind in get_args(events.Kind))
    lines += [f"`kind` of an error is one of {kinds}.", "", "## Commands", ""]
    for command in (name for name in RESULTS if name in REQUESTS):
        limit = LIMITS[command]
        lines += [f"### {command}", "", f"Request: {REQUESTS[command]}. It may take {limit:,.0f} s.", ""]
        lines += _model("Result", RESULTS[command], heading=False)
    return "\n".join(lines).rstrip() + "\n"


def commands() -> set[str]:
    """The commands that a workstation calls."""
    return set(COMMANDS) - set(DETACHED)


def _model(title: str, model: type[Said], heading: bool = True) -> Iterator[str]:
    if heading:
        yield f"### {title}\n"
    yield _said(model) + "\n"
    yield from _table(model.model_json_schema())


def _said(model: type[Said]) -> str:
    return " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split()).replace("``", "`")


def _table(schema: Mapping[str, Any]) -> Iterator[str]:
    definitions = schema.get("$defs", {})
    required = schema.get("required", ())
    yield "| field | holds |\n|---|---|"
    for name, field in schema["properties"].items():
        if name == "event":
            continue
        left_out = "" if name in required else "; may be left out"
        yield f"| `{name}` | {_words(field, definitions)}{left_out} |"
    yield ""


def _words(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        inner = definitions[field["$ref"].rpartition("/")[2]]
        return "{" + ", ".join(f"`{name}`" for name in inner["properties"]) + "}" if "properties" in inner else "text"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_words(one, definitions) for one in field["anyOf"]))
    if "const" in field:
        return f"`{field['const']}`".replace("True", "true")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type")
    if kind == "array":
        return f"list of {_words(field['items'], definitions)}"
    if kind == "object":
        return f"{{name: {_words(field.get('additionalProperties', {}), definitions)}}}"
    if kind == "string" and "pattern" in field:
        pattern = re.sub(r"^\\A|\\z$", "", field["pattern"]).replace("|", "\\|")
        return f"text as `{pattern}`"
    numbers = {"integer": "whole number", "number": "number"}
    return {**numbers, "string": "text", "boolean": "true or false", "null": "null"}.get(str(kind), "anything")
