"""Load a model's safetensors headers from its folder, or from the Hub at the commit of its configuration.

huggingface_hub's own parser requests the first 100,000 bytes of each file, several times the length of most
headers. Here the length is estimated by the tensor names in the index: one request fetches a header, and a
second one the rest if the estimate was short.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

from vlm_inspect.core.checkpoint import TensorHeaders
from vlm_inspect.core.errors import BadHeaderError, HubUnavailableError, NoHeadersError, VlmInspectError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import catalogue, safetensors
from vlm_inspect.sources.config_file import WEIGHTS
from vlm_inspect.sources.deadline import run_in_parallel
from vlm_inspect.sources.http import Part, UnexpectedResponseError, get_range, repo_info
from vlm_inspect.sources.hub import file_url, find_cached, is_offline, token_to_send
from vlm_inspect.sources.hub_errors import HubRequest
from vlm_inspect.sources.safetensors import INDEX, LENGTH_BYTES, HeaderLengths, RawHeader, Shards
from vlm_inspect.storage.cache import read_cached, write_cached

_DEFAULTS = InspectOptions()
_LFS_POINTER = b"version "  # the first eight bytes of a Git LFS pointer: as a length, 2**60
# `"":{"dtype":"BF16","shape":[4096,4096],"data_offsets":[4429185024,4462739456]},`
_BYTES_PER_TENSOR = 76
_MARGIN = 1.02


def load(
    ref: ModelRef, identity: ModelIdentity, options: InspectOptions = _DEFAULTS, *, adapter: bool = False
) -> TensorHeaders:
    """Load the headers of a checkpoint, or of its PEFT adapter, at a commit. Raises SourceError."""
    if ref.path is not None:
        if ref.path.suffix == WEIGHTS and not safetensors.is_part_of_checkpoint(ref.path.name):
            return read_file(ref.path)
        try:
            folder = ref.path if ref.path.is_dir() else ref.path.parent
            return safetensors.read_headers(LocalFiles(folder, ref.name), ref.name, adapter=adapter)
        except OSError as error:
            raise _unreadable(ref.name, error) from error
    known = catalogue.headers(identity.id) if identity.source == "catalogue" and not adapter else None
    if known is not None:
        return known
    if identity.source == "local":
        raise NoHeadersError(
            f"{identity.id} has no folder, so it has no headers.",
            hint="Name the folder or the repo that has the weights.",
            model=identity.id,
        )
    if identity.revision is None:
        raise NoHeadersError(
            f"{identity.id} is answered from the built-in catalogue, which has no headers.",
            hint="Run it with access to the Hub, and without --offline.",
            model=identity.id,
        )
    files = HubFiles(ModelRef(identity.id, identity.revision), options)
    return files.request.run(options, partial(safetensors.read_headers, files, identity.id, adapter=adapter))


def tensor_names(
    ref: ModelRef, identity: ModelIdentity, options: InspectOptions, expected: Sequence[str], *, is_sharded: bool
) -> frozenset[str] | None:
    """Return the names of a checkpoint's tensors, from its index or its single file.

    On the Hub this is one small request if the guess `is_sharded` is right, else two; none if they are cached.

    Args:
        ref: The model.
        identity: The model and its commit.
        options: Hub settings.
        expected: Names of about as many tensors, by which the length of a header is estimated.
        is_sharded: Whether the checkpoint probably has several files.

    Returns:
        Empty if the checkpoint has no safetensors; None if they are not at hand: offline, or unreadable.

    """
    read = partial(safetensors.read_names, expected=expected, is_sharded=is_sharded)
    try:
        if ref.path is not None:
            folder = ref.path if ref.path.is_dir() else ref.path.parent
            return read(LocalFiles(folder, ref.name), ref.name)
        if identity.source == "catalogue":
            known = catalogue.headers(identity.id)
            return None if known is None else frozenset(tensor.name for tensor in known.tensors)
        files = HubFiles(ModelRef(identity.id, identity.revision), options)
        return files.request.run(options, partial(read, files, identity.id))
    except (OSError, VlmInspectError):
        return None


def read_file(path: Path) -> TensorHeaders:
    """Read the header of one safetensors file. Raises NoHeadersError or BadHeaderError."""
    try:
        found = {path.name: _read_header(path, path.name, path.name, HeaderLengths(path.name))}
        return safetensors.merge_headers({path.name: ()}, found, path.name, may_be_unfinished=False)
    except OSError as error:
        raise _unreadable(path.name, error) from error


class LocalFiles:
    """The files of a local folder; see `safetensors.Files`."""

    may_be_unfinished = True

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._model = model
        self._lengths = HeaderLengths(model)

    def headers(self, shards: Shards) -> Mapping[str, RawHeader | None]:
        """The headers of these files; None for a file that is missing or only a Git LFS pointer."""
        return {name: _read_header(self._folder / name, name, self._model, self._lengths) for name in shards}

    def read(self, name: str, limit: int) -> bytes | None:
        """A small file, up to one byte beyond the limit; None if there is none."""
        path = self._folder / name
        return _read_start(path, limit + 1) if path.is_file() else None

    def names(self) -> Sequence[str]:
        """The names of the files in the folder."""
        return sorted(path.name for path in self._folder.iterdir())


class HubFiles:
    """The files of a repo at a commit, from the cache or the Hub; see `safetensors.Files`.

    Headers and small files are cached in huggingface_hub's assets folder ($HF_HOME/assets/vlm-inspect), or
    with `--cache-dir` in the repo's folder.
    """

    def __init__(self, ref: ModelRef, options: InspectOptions) -> None:
        self._ref = ref
        self._options = options
        self._lengths = HeaderLengths(ref.name)
        self.request = HubRequest(ref, token_to_send(options.token))
        self.may_be_unfinished = is_offline(options)

    def headers(self, shards: Shards) -> Mapping[str, RawHeader | None]:
        """The headers of these files; None for a file that the repo does not have."""
        found = {name: self._cached_header(name) for name in shards}
        missing = [name for name, header in found.items() if header is None]
        if missing == [safetensors.SINGLE] and self._read_cached(INDEX, safetensors.INDEX_LIMIT) is not None:
            return found  # the index is cached only if the commit has no single file
        if not self.may_be_unfinished:
            found |= run_in_parallel(lambda name: self._fetch_header(name, shards[name]), missing)
        elif len(shards) == len(missing) > 0 and any(shards.values()):
            raise self._not_cached()
        return found

    def read(self, name: str, limit: int) -> bytes | None:
        """A small file, up to one byte beyond the limit; None if there is none."""
        if (content := self._read_cached(name, limit)) is not None:
            return content
        if self.may_be_unfinished:
            raise self._not_cached()
        part = self._fetch(name, 0, limit + 1)
        if part is None:
            return None
        with suppress(BadHeaderError):  # a malformed index is not cached
            if name == INDEX:
                safetensors.parse_index(part.content, INDEX, self._ref.name)
            if len(part.content) <= limit:
                self._write_cached(name, part.content)
        return part.content

    def names(self) -> Sequence[str]:
        """The names of the repo's files."""
        if self.may_be_unfinished:
            raise self._not_cached()
        info = repo_info(f"{self._ref.name}/revision/{self._ref.revision}", self.request.token)
        if info.sha not in {None, self._ref.revision}:
            raise UnexpectedResponseError("its list of files is that of another commit")
        return [file.rfilename for file in info.siblings or () if file.rfilename.isprintable()]

    def _cached_header(self, name: str) -> RawHeader | None:
        if path := find_cached(self._ref, name, self._options):
            return _read_header(path, name, self._ref.name, self._lengths)
        content = self._read_cached(f"{name}.header", safetensors.HEADER_LIMIT + 2 * LENGTH_BYTES)
        if content is None or len(content) < LENGTH_BYTES:
            return None
        size = int.from_bytes(content[:LENGTH_BYTES], "little")
        return RawHeader(content[LENGTH_BYTES:], len(content) - LENGTH_BYTES, size)

    def _fetch_header(self, name: str, tensors: Sequence[str]) -> RawHeader | None:
        expected = int(sum(len(tensor) + _BYTES_PER_TENSOR for tensor in tensors) * _MARGIN)
        first = self._fetch(name, 0, max(expected, LENGTH_BYTES))
        if first is None:
            return None
        if len(first.content) < LENGTH_BYTES:
            return RawHeader(None, 0, first.size)
        length = self._lengths.read(first.content, name)
        text = first.content[LENGTH_BYTES : LENGTH_BYTES + length]
        if len(text) < length:
            rest = self._fetch(name, LENGTH_BYTES + len(text), length - len(text))
            text += rest.content if rest is not None else b""
        with suppress(BadHeaderError):
            size = LENGTH_BYTES + length + safetensors.parse_header(text, name, self._ref.name).data_bytes
            if size == first.size:
                self._write_cached(f"{name}.header", size.to_bytes(LENGTH_BYTES, "little") + text)
        return RawHeader(text if len(text) == length else None, length, first.size)

    def _fetch(self, name: str, first: int, count: int) -> Part | None:
        commit = self._ref.revision or ""
        return get_range(file_url(self._ref, name), first, count, self.request.token, commit)

    def _read_cached(self, name: str, limit: int) -> bytes | None:
        if path := find_cached(self._ref, name, self._options):
            return _read_start(path, limit + 1)
        return read_cached(self._assets / _flat(name), limit) if self._assets else None

    def _write_cached(self, name: str, content: bytes) -> None:
        if self._assets:
            write_cached(self._assets / _flat(name), content)

    @cached_property
    def _assets(self) -> Path | None:
        """None if the folder cannot be created."""
        from huggingface_hub import cached_assets_path

        repo, cache = _flat(self._ref.name), self._options.cache_folder
        assets = cache / f"models--{repo}" / "assets" if cache else None
        with suppress(OSError, ValueError):
            return Path(cached_assets_path("vlm-inspect", repo, self._ref.revision or "", assets_dir=assets))
        return None

    def _not_cached(self) -> HubUnavailableError:
        return HubUnavailableError(
            f"Offline, and the cache has no headers of {self._ref.name} at commit {(self._ref.revision or '')[:12]}.",
            hint="Run once without --offline (and without HF_HUB_OFFLINE) to cache them.",
            model=self._ref.name,
        )


def _read_header(path: Path, name: str, model: str, lengths: HeaderLengths) -> RawHeader | None:
    if not path.exists():
        return None
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a device has no end, and a pipe may block
        raise BadHeaderError(f"{model}: {name} is not a file.", hint="Expected a regular file.", model=model)
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        if start == _LFS_POINTER:
            return None
        if len(start) < LENGTH_BYTES:
            return RawHeader(None, 0, status.st_size)
        length = lengths.read(start, name)
        text = file.read(length)
    return RawHeader(text if len(text) == length else None, length, status.st_size)


def _read_start(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _flat(name: str) -> str:
    return name.replace("/", "--")


def _unreadable(model: str, error: OSError) -> NoHeadersError:
    return NoHeadersError(
        f"{model}: its files cannot be read: {error.strerror or error}.",
        hint="Check that they exist and that you can read them.",
        model=model,
    )
