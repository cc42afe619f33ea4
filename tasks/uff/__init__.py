"""The UFF format: schema, reader, writer, text dump; frozen graph -> UFF."""

from jetlane.tasks.uff.build import convert_graph
from jetlane.tasks.uff.files import read_uff, uff_from_bytes, uff_to_bytes, write_uff
from jetlane.tasks.uff.model import Evidence, Uff, UffNode
from jetlane.tasks.uff.text import dump_text, parse_text

__all__ = [
    "Evidence",
    "Uff",
    "UffNode",
    "convert_graph",
    "dump_text",
    "parse_text",
    "read_uff",
    "uff_from_bytes",
    "uff_to_bytes",
    "write_uff",
]
