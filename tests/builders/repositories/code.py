"""The code of the repositories whose layouts are in this folder: files in a folder of the layout's name."""

from pathlib import Path

FOLDER = Path(__file__).parent


def code_of(name):
    """Texts by file name; empty for a repository whose code is not here."""
    return {path.name: path.read_text() for path in sorted((FOLDER / name).glob("*.py"))}
