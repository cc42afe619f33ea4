"""The text dump of a UFF file: protobuf text format with long weights left out."""

from __future__ import annotations

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.uff.model import Uff
from jetlane.tasks.converter.uff.schema import message_class

#: Blobs longer than this many bytes are replaced by a note of their length.
LONGEST_BLOB = 32


def dump_text(uff: Uff) -> str:
    """The graph as text, as converters write it beside the binary: a reader sees structure and fields, not weights."""
    from google.protobuf import text_format

    shown = message_class("MetaGraph")()
    shown.CopyFrom(uff.message)
    for data in shown.referenced_data.values():
        if data.WhichOneof("data_oneof") == "blob" and len(data.blob) > LONGEST_BLOB:
            data.blob = b"(...%d bytes skipped...)" % len(data.blob)
    return str(text_format.MessageToString(shown))


def parse_text(text: str) -> Uff:
    """A text dump as a graph; its weights are the notes of their lengths.

    Raises:
        ConversionError: The text is no UFF dump.
    """
    from google.protobuf import text_format

    message = message_class("MetaGraph")()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise ConversionError("the text is no dump of a UFF graph", str(error), "dump the .uff file again") from error
    return Uff(message)
