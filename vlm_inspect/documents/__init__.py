"""Text in files: marked blocks that are regenerated, and everything around them that is not touched.

A block lies between two comments, each on a line of its own::

    <!-- vlm-inspect:begin NAME -->
    what stands here is replaced
    <!-- vlm-inspect:end NAME -->

A file may hold several; they neither nest nor cross, and the name in the end marker may be left out.
As in CommonMark, a line that is indented by four spaces or stands in a code fence is an example of a
marker and not a marker.
"""

from __future__ import annotations

from vlm_inspect.documents.blocks import block_names
from vlm_inspect.documents.document import Document, read_document, update_document
from vlm_inspect.documents.splicing import splice
from vlm_inspect.documents.writing import append_text, write_atomically

__all__ = [
    "Document",
    "append_text",
    "block_names",
    "read_document",
    "splice",
    "update_document",
    "write_atomically",
]
