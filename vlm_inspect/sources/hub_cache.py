"""Small files in the Hub's cache, as huggingface_hub reads it: found there, and kept there at their commit.

huggingface_hub's own download is not used: it makes a server's ETag and commit into paths, goes wherever a
redirect leads, and waits and writes as long as a server likes. The folders are those of its documentation,
without links: snapshots/<commit>/<file>, and refs/<branch>, which holds the commit that the branch was at.
"""

from __future__ import annotations

from pathlib import Path

from vlm_inspect.atomic_files import replace_file
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources.options import InspectOptions


def find(ref: ModelRef, name: str, options: InspectOptions) -> Path | None:
    """The file in the cache, at the commit or where the branch was when it was last asked for.

    As huggingface_hub's own `try_to_load_from_cache` says, which first imports an HTTP client.
    """
    revision = ref.revision or "main"
    try:
        repo = _repo(ref, options)
        pointer = repo / "refs" / revision
        commit = pointer.read_text(encoding="utf-8") if pointer.is_file() else revision
        found = repo / "snapshots" / commit / name
        return found if found.is_file() else None
    except (OSError, ValueError):  # a cache that cannot be read, or a name that it cannot have
        return None


def keep(ref: ModelRef, name: str, commit: str, content: bytes, options: InspectOptions) -> Path:
    """Write the file at its commit, and then where the branch is. An OSError where that is not possible."""
    repo = _repo(ref, options)
    path = repo / "snapshots" / commit / name
    _write(repo, path, content)
    point(ref, commit, options)
    return path


def point(ref: ModelRef, commit: str, options: InspectOptions) -> None:
    """Let the cache know which commit a branch is at: a file of that commit is there."""
    revision = ref.revision or "main"
    path = _repo(ref, options) / "refs" / revision
    if revision != commit and not (path.is_file() and path.read_bytes() == commit.encode()):
        _write(_repo(ref, options), path, commit.encode())


def _folder(options: InspectOptions) -> Path | None:
    """The cache's folder; None for huggingface_hub's own choice."""
    return options.cache_folder


def _repo(ref: ModelRef, options: InspectOptions) -> Path:
    from huggingface_hub import constants

    folder = _folder(options) or Path(constants.HF_HUB_CACHE).expanduser()
    return folder / f"models--{ref.name.replace('/', '--')}"


def _write(repo: Path, path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whoever else writes it.

    What is not whole lies in the repo's folder: huggingface_hub takes every file in refs for a branch. A
    file that a power cut tears is found out when it is read, and fetched again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content, precious=False, folder=repo)
