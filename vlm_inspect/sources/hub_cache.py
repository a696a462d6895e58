"""Where huggingface_hub's cache has a file, looked up without what huggingface_hub imports to download one.

The folders are as its documentation lays them out: `models--org--name/refs/<branch>` holds a commit, and
`snapshots/<commit>` the files. `try_to_load_from_cache` says the same, and first imports an HTTP client.
"""

from __future__ import annotations

from pathlib import Path


def cached_file(repo: str, name: str, revision: str, folder: Path | None) -> Path | None:
    """The file at a branch, a tag or a commit; `folder` is the cache, None for huggingface_hub's own choice.

    Raises OSError where the cache cannot be read, and ValueError for names that no path can have.
    """
    from huggingface_hub import constants

    cache = folder or Path(constants.HF_HUB_CACHE)
    here = cache / constants.REPO_ID_SEPARATOR.join(["models", *repo.split("/")])
    pointer = here / "refs" / revision
    commit = pointer.read_text(encoding="utf-8") if pointer.is_file() else revision
    found = here / "snapshots" / commit / name
    return found if found.is_file() else None
