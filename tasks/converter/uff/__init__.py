"""The UFF format: schema, reader, writer, text dump; frozen graph -> UFF."""

from jetlane.tasks.converter.uff.build import convert_graph
from jetlane.tasks.converter.uff.files import read_uff, uff_from_bytes, uff_to_bytes, write_uff
from jetlane.tasks.converter.uff.model import Evidence, Uff, UffNode
from jetlane.tasks.converter.uff.text import dump_text, parse_text

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
