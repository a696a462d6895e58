"""The headers of a model's checkpoint: from its folder, or from the Hub at its configuration's commit."""

from __future__ import annotations

from pathlib import Path

from vlm_inspect.errors import NoHeadersError
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.sources import catalogue, hub_headers
from vlm_inspect.sources.header_files import Folder, read_header
from vlm_inspect.sources.header_format import Lengths
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.tensor_files import merged, read_headers
from vlm_inspect.tensors import TensorHeaders

_DEFAULTS = InspectOptions()


def load(
    ref: ModelRef, identity: ModelIdentity, options: InspectOptions = _DEFAULTS, *, adapter: bool = False
) -> TensorHeaders:
    """Names, dtypes, shapes and places of a checkpoint's tensors, or of an adapter's; never their values.

    `identity` is that of the configuration that was loaded for `ref`: it says the commit. Raises
    NoHeadersError where there is no safetensors file, BadHeaderError for one that breaks its format, a
    SourceError for what the Hub answers instead.
    """
    if ref.path is None:
        stated = catalogue.headers(identity.id) if identity.source == "catalogue" and not adapter else None
        return stated or hub_headers.load(identity, options, adapter=adapter)
    try:
        folder = ref.path if ref.path.is_dir() else ref.path.parent
        return read_headers(Folder(folder, ref.name), ref.name, adapter=adapter)
    except OSError as error:
        raise _unreadable(ref.name, error) from error


def read_file(path: Path) -> TensorHeaders:
    """The header of one safetensors file. Raises NoHeadersError or BadHeaderError."""
    try:
        return merged(
            {path.name: ()},
            {path.name: read_header(path, path.name, path.name, Lengths(path.name))},
            path.name,
            may_be_unfinished=False,
        )
    except OSError as error:
        raise _unreadable(path.name, error) from error


def _unreadable(model: str, error: OSError) -> NoHeadersError:
    return NoHeadersError(
        f"{model}: its files cannot be read: {error.strerror or error}.",
        hint="Check that they exist and that you may read them.",
        model=model,
    )
