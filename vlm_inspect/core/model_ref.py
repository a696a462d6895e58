"""ModelRef: a model as the user names it. ModelIdentity: a model as a record names it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from msgspec import Struct

from vlm_inspect.core.errors import InvalidReferenceError

Source = Literal["hub", "local", "catalogue", "snapshot"]

# huggingface_hub's rule for repo ids: word characters, "-" and ".", at most 96 in all,
# neither "--" nor ".." inside, no "-" or "." at the ends
_REPO_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?P<repo>{_REPO_PART}(?:/{_REPO_PART})?)(?:@(?P<revision>[^\s@]+))?")
_HUB_ID_LENGTH = 96
_LONGEST_SHOWN = 200
_PATH_STARTS = ("./", "../", "/", "~", ".\\", "..\\")
_PATH_ENDS = (".json", ".safetensors", ".gguf")
_ADDRESS = re.compile(r"(?:\w+://|huggingface\.co/|hf\.co/)", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class ModelIdentity(Struct, frozen=True):
    """The model that a record describes."""

    id: str
    revision: str | None = None
    """Commit hash on the Hub; None for a folder or a model of the catalogue."""
    source: Source = "hub"


class ModelRef(Struct, frozen=True):
    """A model as the user named it: a repo on the Hub, or a path."""

    name: str
    """`org/name`, or the path as it was typed."""
    revision: str | None = None
    """Branch, tag or commit; only for repos on the Hub."""
    path: Path | None = None
    """The folder or file of a local model."""

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a full commit hash, which always refers to the same files."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    @classmethod
    def parse(cls, model: str | os.PathLike[str], revision: str | None = None) -> ModelRef:
        """Parse `org/name`, `org/name@revision`, `hf://…`, the address of a model's page, a folder or a file.

        A path that exists wins over a repo of the same name, as in transformers.
        Raises InvalidReferenceError if it is none of them.
        """
        text = _as_text(model)
        if revision is not None and not isinstance(revision, str):
            raise InvalidReferenceError(f"revision is {revision!r}.", hint="Name a branch, a tag or a commit.")
        if _ADDRESS.match(text):
            return cls._of_hub(text, *_parse_address(text), revision)
        path = _as_path(text)
        if path is not None and revision is not None:
            raise InvalidReferenceError(
                f"{_shown(text)} is a path, and a path has no revisions.",
                hint="Omit --revision, or name a model on the Hub.",
            )
        if path is not None:
            return cls(name=text, path=path)
        match = _HUB_ID.fullmatch(text)
        if match is None or not _is_repo_id(match["repo"]):
            raise InvalidReferenceError(
                f"{_shown(text)} is neither a model on the Hub nor a path that exists.",
                hint=_non_ascii_hint(text)
                or "Name a model as org/name or org/name@revision, or a folder, a config.json or a .safetensors file.",
            )
        return cls._of_hub(text, match["repo"], match["revision"], revision)

    @classmethod
    def _of_hub(cls, text: str, repo: str, own_revision: str | None, revision: str | None) -> ModelRef:
        if own_revision and revision and own_revision != revision:
            raise InvalidReferenceError(
                f"{_shown(text)} names revision {_shown(own_revision)}, and --revision says {_shown(revision)}.",
                hint=f"Use one of the two: {repo}@{own_revision[:_LONGEST_SHOWN]}",
            )
        return cls(name=repo, revision=own_revision or revision)


def is_hub_id(text: str) -> bool:
    """Whether a text can be a repo on the Hub, even if a path of that name exists."""
    match = _HUB_ID.fullmatch(text)
    is_id = match is not None and match["revision"] is None and _is_repo_id(match["repo"])
    return is_id and not looks_like_path(text)


def looks_like_path(text: str) -> bool:
    """Whether a text is written as a path, whether that exists or not."""
    return text.startswith(_PATH_STARTS) or text.endswith(_PATH_ENDS)


def _as_text(model: object) -> str:
    """The text of a reference; that of a path object cannot be taken for a repo on the Hub."""
    if isinstance(model, os.PathLike):
        path = os.fspath(model)
        if isinstance(path, str):
            return path if looks_like_path(path) else f".{os.sep}{path}"
    if isinstance(model, str):
        return model
    raise InvalidReferenceError(
        f"A model is a text, a path or a configuration, not {type(model).__name__}.",
        hint="Name a model as org/name, or give a folder.",
    )


def _parse_address(text: str) -> tuple[str, str | None]:
    """The repo and the revision of an address, parsed by huggingface_hub."""
    try:
        from huggingface_hub.utils import parse_hf_uri
    except ImportError:
        message = f"{_shown(text)} is an address, and this version of huggingface_hub cannot parse addresses."
        hint = "Name the model as org/name, or: pip install --upgrade huggingface_hub"
        raise InvalidReferenceError(message, hint=hint) from None
    try:
        found = parse_hf_uri(text, os.environ.get("HF_ENDPOINT") or None)
    except ValueError:
        message = f"{_shown(text)} is not the address of a model on the Hub."
        hint = (
            "Name a model as org/name, hf://org/name or https://huggingface.co/org/name. HF_ENDPOINT names a mirror."
        )
        raise InvalidReferenceError(message, hint=hint) from None
    if found.type != "model":
        message = f"{_shown(text)} is a {found.type}, not a model."
        raise InvalidReferenceError(message, hint="Name a model as org/name.")
    folder = found.path_in_repo.rpartition("/")[0] if "." in found.path_in_repo else found.path_in_repo
    if folder:
        message = (
            f"{_shown(text)} is in the folder {_shown(folder)} of its repository, and models are read from its top."
        )
        hint = f"hf download {found.id} --include {folder[:_LONGEST_SHOWN]!r}/* --local-dir DIR, then name the folder."
        raise InvalidReferenceError(message, hint=hint)
    return found.id, found.revision


def _as_path(text: str) -> Path | None:
    if "\0" in text or not text:
        return None
    try:
        path = Path(text).expanduser() if text.startswith("~") else Path(text)
        is_path = looks_like_path(text) or path.exists()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: the home of an unknown user
        return None
    return path if is_path else None


def _is_repo_id(repo: str) -> bool:
    return len(repo) <= _HUB_ID_LENGTH and "--" not in repo and ".." not in repo and not repo.endswith(".git")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…")


def _non_ascii_hint(text: str) -> str:
    """Name the first character that is not ASCII; it may look like a letter in a copied name."""
    import unicodedata

    char = next((char for char in text if not char.isascii()), None)
    if char is None:
        return ""
    name = unicodedata.name(char, "a character without a name")
    return f"It has U+{ord(char):04X}, {name}; names on the Hub use a-z, A-Z, 0-9, '-', '_' and '.'."
