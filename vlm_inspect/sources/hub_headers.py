"""Headers of safetensors files on the Hub: of each shard its header travels, once, and nothing else.

huggingface_hub's own parser asks for the first 100,000 bytes of every file, several times what most
shards' headers have. The index knows the names, and so nearly the length: one request fetches a header, a
second what is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from vlm_inspect.errors import BadHeaderError, HubUnavailableError, NoHeadersError
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.sources import hub_cache
from vlm_inspect.sources.dialogue import ask_hub
from vlm_inspect.sources.header_cache import HeaderCache
from vlm_inspect.sources.header_files import read_header
from vlm_inspect.sources.header_format import LENGTH_BYTES, Lengths, parse_header
from vlm_inspect.sources.hub import is_offline
from vlm_inspect.sources.hub_errors import Asked
from vlm_inspect.sources.listing import file_names
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.parallel import in_parallel
from vlm_inspect.sources.ranges import Part, fetch_part, fetch_whole
from vlm_inspect.sources.shard_index import INDEX_LIMIT, parse_index
from vlm_inspect.sources.tensor_files import INDEX, SINGLE, RawHeader, Shards, read_headers
from vlm_inspect.sources.token import token_to_send
from vlm_inspect.sources.wire import hub_headers
from vlm_inspect.tensors import TensorHeaders

# `"":{"dtype":"BF16","shape":[4096,4096],"data_offsets":[4429185024,4462739456]},`
_BYTES_BESIDE_A_NAME = 76
_ROOM = 1.02


def load(identity: ModelIdentity, options: InspectOptions, *, adapter: bool = False) -> TensorHeaders:
    """The headers of a repo at the commit of its identity.

    Raises NoHeadersError, BadHeaderError, or a SourceError for what the Hub answers instead.
    """
    if identity.revision is None:
        raise NoHeadersError(
            f"{identity.id} is answered from the built-in catalogue, which holds no headers.",
            hint="Run it where the Hub can be reached, and without --offline.",
            model=identity.id,
        )
    ref = ModelRef(identity.id, identity.revision)
    repo = HubFiles(ref, identity.revision, options)

    return ask_hub(
        repo.asked,
        options,
        partial(read_headers, repo, identity.id, adapter=adapter),
        unfinished="did not give the headers",
        hint="Try again: what came is kept.",
    )


class HubFiles:
    """A repo's files at a commit: in our cache, in huggingface_hub's, or on the Hub."""

    def __init__(self, ref: ModelRef, commit: str, options: InspectOptions) -> None:
        self._repo = ref.name
        self._commit = commit
        self._options = options
        self._kept = HeaderCache(ref.name, commit, options)
        self._lengths = Lengths(ref.name)
        self.asked = Asked(ref, token_to_send(options.token))

    @property
    def may_be_unfinished(self) -> bool:
        """Offline, a file that is not there is one that was not downloaded."""
        return self._offline

    def headers(self, shards: Shards) -> Mapping[str, RawHeader | None]:
        """The headers of these files; None of one that is not there."""
        found = {name: self._cached_header(name) for name in shards}
        absent = [name for name, header in found.items() if header is None]
        if absent == [SINGLE] and self._cached(INDEX, INDEX_LIMIT) is not None:
            return found  # the commit was asked before: it has an index because it has no single file
        if not self._offline:
            found |= in_parallel(lambda name: self._fetch_header(name, shards[name]), absent)
        elif len(shards) == len(absent) > 0 and any(shards.values()):
            raise self._not_cached()
        return found

    def whole(self, name: str, limit: int) -> bytes | None:
        """A small file's content, no more than one byte beyond the limit; None where it is not there."""
        content = self._cached(name, limit)
        if content is not None:
            return content
        if self._offline:
            raise self._not_cached()
        content = fetch_whole(self._url(name), limit, hub_headers(self.asked.token), self._commit)
        if content is not None and len(content) <= limit and (name != INDEX or self._is_index(content)):
            self._kept.keep(name, content)
        return content

    def names(self) -> Sequence[str]:
        """The names of the repo's files."""
        if self._offline:
            raise self._not_cached()
        return file_names(self._repo, self._commit, self.asked.token)

    @cached_property
    def _offline(self) -> bool:
        return is_offline(self._options)

    def _cached(self, name: str, limit: int) -> bytes | None:
        path = self._downloaded(name)
        return self._kept.whole(name, limit) if path is None else _start_of(path, limit + 1)

    def _cached_header(self, name: str) -> RawHeader | None:
        path = self._downloaded(name)
        return self._kept.header(name) if path is None else read_header(path, name, self._repo, self._lengths)

    def _fetch_header(self, name: str, tensors: Sequence[str]) -> RawHeader | None:
        first = self._fetch(name, 0, _expected_length(tensors))
        if first is None:
            return None
        if len(first.content) < LENGTH_BYTES:
            return RawHeader(None, 0, first.size)
        length = self._lengths.read(first.content, name)
        text = first.content[LENGTH_BYTES : LENGTH_BYTES + length]
        if len(text) < length:
            rest = self._fetch(name, LENGTH_BYTES + len(text), length - len(text))
            text += rest.content if rest is not None else b""
        header = RawHeader(text if len(text) == length else None, length, first.size)
        if self._accounts_for_file(name, header):
            self._kept.keep_header(name, header)
        return header

    def _accounts_for_file(self, name: str, header: RawHeader) -> bool:
        """Whether a header is one, and of a file of that size: any other is not kept."""
        try:
            data = parse_header(header.text or b"", name, self._repo).data_bytes
        except BadHeaderError:
            return False
        return header.size == LENGTH_BYTES + header.length + data

    def _is_index(self, content: bytes) -> bool:
        try:
            return bool(parse_index(content, INDEX, self._repo))
        except BadHeaderError:
            return False

    def _fetch(self, name: str, first: int, count: int) -> Part | None:
        return fetch_part(self._url(name), first, count, hub_headers(self.asked.token), self._commit)

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        url: str = hf_hub_url(self._repo, name, revision=self._commit)
        return url

    def _downloaded(self, name: str) -> Path | None:
        """The file in huggingface_hub's cache, where somebody downloaded it whole."""
        return hub_cache.find(self.asked.ref, name, self._options)

    def _not_cached(self) -> HubUnavailableError:
        return HubUnavailableError(
            f"Offline, and the cache has no headers of {self._repo} at commit {self._commit[:12]}.",
            hint="Run once without --offline (and without HF_HUB_OFFLINE): the cache keeps what it fetched.",
            model=self._repo,
        )


def _expected_length(tensors: Sequence[str]) -> int:
    """Bytes that a header of these tensors has, more or less; without names only those of its length."""
    if not tensors:
        return LENGTH_BYTES
    return int(sum(len(name) + _BYTES_BESIDE_A_NAME for name in tensors) * _ROOM)


def _start_of(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
