"""The catalogue of errors as a page: ``python -m jetlane.specs.troubleshooting > docs/troubleshooting.md``."""

from __future__ import annotations

from jetlane.specs.catalogue import STAGES, Entry, entries

_TITLES = {
    "convert": "Converting the frozen graph",
    "parse": "TensorRT parses the model",
    "build": "TensorRT builds the engine",
    "load": "Loading a graph, a plugin or an engine",
    "run": "Running",
    "install": "Installing",
}

HEAD = """# Troubleshooting

What people meet on the way from a frozen graph to an engine, by the words of the message: look for yours with your
browser's search. jetlane checks for many of these before it converts, and its agent answers TensorRT's log with them.

This page is made from the catalogue in `specs/errors.json`:
`python -m jetlane.specs.troubleshooting > docs/troubleshooting.md`.
"""


def document() -> str:
    """The page's text."""
    parts = [HEAD]
    for stage in STAGES:
        parts.append(f"## {_TITLES[stage]}\n")
        parts += [_section(found) for found in entries() if found.stage == stage]
    return "\n".join(parts).rstrip() + "\n"


def _section(found: Entry) -> str:
    shown = "```text\n" + "\n".join(found.messages) + "\n```\n" if found.messages else "(no message)\n"
    lines = [f"### {found.id}\n", shown, f"**Cause:** {found.cause}.\n", f"**What to do:** {found.remedy}.\n"]
    if found.sources:
        lines.append(f"Met in: {', '.join(map(_link, found.sources))}.\n")
    return "\n".join(lines)


def _link(source: str) -> str:
    repository, _, number = source.partition("#")
    return f"[{source}](https://github.com/{repository}/issues/{number})"


if __name__ == "__main__":
    print(document(), end="")
