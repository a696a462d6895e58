"""Records display themselves: a short text at the Python prompt, tables in notebooks."""

from __future__ import annotations


class Displayed:
    """A record with a short repr and with renderings, whose modules are imported on use."""

    __slots__ = ()

    def summary(self) -> str:
        """Return what the record is about, in a few words: its repr."""
        raise NotImplementedError

    def to_markdown(self) -> str:
        """Return the record as Markdown, as the command prints it with `--format markdown`."""
        from vlm_inspect.render.display import record_markdown

        return record_markdown(self)

    def to_html(self) -> str:
        """Return the record's tables as HTML, without a page around them: for notebooks and reports."""
        from vlm_inspect.render.display import record_html

        return record_html(self)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        """Return `<Architecture org/name: …>`."""
        return f"<{type(self).__name__} {self.summary()}>"
