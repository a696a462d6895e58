"""How a user names a model, and how a record names it back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from msgspec import Struct

from vlm_inspect.core.errors import InvalidReferenceError

Source = Literal["hub", "local", "catalogue", "snapshot"]

# huggingface_hub's own rule for repo ids: word characters, "-" and ".", at most 96 in all,
# neither "--" nor ".." inside, neither end "-" or ".".
_REPO_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?P<repo>{_REPO_PART}(?:/{_REPO_PART})?)(?:@(?P<revision>[^\s@]+))?")
_HUB_ID_LENGTH = 96
_LONGEST_SHOWN = 200
_PATH_STARTS = ("./", "../", "/", "~", ".\\", "..\\")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class ModelIdentity(Struct, frozen=True):
    """What a record says of the model it describes."""

    id: str
    revision: str | None = None
    """Commit sha on the Hub; None where there is none (a folder, the catalogue)."""
    source: Source = "hub"


class ModelRef(Struct, frozen=True):
    """A model as the user named it: a repo on the Hub, or a path."""

    name: str
    """`org/name`, or the path as it was typed."""
    revision: str | None = None
    """Branch, tag or commit; only for repos on the Hub."""
    path: Path | None = None
    """The folder or file, where the model is local."""

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a full commit sha, which can never change its meaning."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> ModelRef:
        """Read `org/name`, `org/name@revision`, a folder or a file.

        A path that exists wins over a repo of the same name, as in transformers.
        Raises InvalidReferenceError where the text can be neither.
        """
        path = _as_path(text)
        if path is not None:
            return _local(text, path, revision)
        match = _HUB_ID.fullmatch(text)
        if match is None or not _is_repo_id(match["repo"]):
            raise InvalidReferenceError(
                f"{_shown(text)} is neither a model on the Hub nor a path that exists.",
                hint=_foreign(text)
                or "Name a model as org/name or org/name@revision, or give a folder or a config.json.",
            )
        stated = match["revision"]
        if stated and revision and stated != revision:
            raise InvalidReferenceError(
                f"{_shown(text)} names revision {_shown(stated)}, and --revision says {_shown(revision)}.",
                hint=f"Keep one of the two: {match['repo']}@{stated[:_LONGEST_SHOWN]}",
            )
        return cls(name=match["repo"], revision=stated or revision)


def _as_path(text: str) -> Path | None:
    """The path that the text names, or None where it must be a Hub id."""
    if "\0" in text or not text:
        return None
    looks_like_path = text.startswith(_PATH_STARTS) or text.endswith(".json")
    try:
        path = Path(text).expanduser() if text.startswith("~") else Path(text)
        is_path = looks_like_path or path.exists()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: the home of nobody, `~nobody/model`
        return None
    return path if is_path else None


def _local(text: str, path: Path, revision: str | None) -> ModelRef:
    if revision is not None:
        raise InvalidReferenceError(
            f"{_shown(text)} is a path, and a path has no revisions.",
            hint="Leave --revision out, or name a model on the Hub.",
        )
    return ModelRef(name=text, path=path)


def is_hub_id(text: str) -> bool:
    """Whether this can be the name of a repo on the Hub, whatever lies on this machine."""
    match = _HUB_ID.fullmatch(text)
    is_path = text.startswith(_PATH_STARTS) or text.endswith(".json")
    return match is not None and match["revision"] is None and _is_repo_id(match["repo"]) and not is_path


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…")


def _foreign(text: str) -> str:
    """Which character keeps a text from being a Hub id, where one may be taken for another: a copied name."""
    import unicodedata

    char = next((char for char in text if not char.isascii()), None)
    if char is None:
        return ""
    name = unicodedata.name(char, "a character without a name")
    return f"It holds U+{ord(char):04X}, {name}; names on the Hub are of a-z, A-Z, 0-9, '-', '_' and '.'."


def _is_repo_id(repo: str) -> bool:
    return len(repo) <= _HUB_ID_LENGTH and "--" not in repo and ".." not in repo and not repo.endswith(".git")
