"""The seed's architecture table, and the cells of it that are corrected whatever the version."""

import re
from pathlib import Path

DOCUMENT = (Path(__file__).parents[2] / "docs" / "seed-corrections.md").read_text(encoding="utf-8")
GOLDEN = Path(__file__).parent / "golden" / "architectures-4.41.2.md"
# a cell with "renamed" differs only because time went by
_FOR_EVERY_VERSION = {"seed wrong", "unknown"}
_SECTION = re.compile(r"^### (?P<titles>[^\n]+)\n(?P<body>.*?)(?=^##)", re.MULTILINE | re.DOTALL)


def seed_rows():
    """The table of 2024: by model and column the cell."""
    return rows(DOCUMENT.partition("### Model architectures, 2024")[2])


def golden_rows():
    """The same models as the tool wrote them under transformers 4.41.2."""
    return rows(GOLDEN.read_text(encoding="utf-8"))


def corrected():
    """By model's name and column what the tool says where the seed is wrong."""
    return {
        (model, column): tool
        for section in _SECTION.finditer(_part("Model architectures"))
        for column, model, tool, reason in _corrections(section)
        if reason in _FOR_EVERY_VERSION
    }


def rows(text):
    """The first Markdown table of a text: by its first cell each row, by title each cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    titles, _, *body = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("`"): dict(zip(titles, row, strict=True)) for row in body}


def _corrections(section):
    for line in section["body"].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|") or cells[0] in {"Model", "Column", "---"}:
            continue
        column = cells.pop(0) if len(cells) > 4 else section["titles"]
        model, _, tool, reason = cells
        yield column, model, tool, reason


def _part(title):
    """From one heading of the second level to the next."""
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0] + "\n##"
