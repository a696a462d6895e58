"""The key of an answer: a digest of everything that can change it, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vlm_inspect.architecture import SCHEMA_VERSION
from vlm_inspect.builder import Builder
from vlm_inspect.cache import fingerprint
from vlm_inspect.ref import ModelIdentity

# who wrote a configuration, and where it was read from: no builder asks
_OF_THE_WRITER = frozenset({"_name_or_path", "transformers_version"})


def of_configuration(builder: Builder, config: Mapping[str, Any]) -> str | None:
    """Of what a builder makes of a configuration's content alone; None where that cannot be kept."""
    libraries = fingerprint.of_libraries()
    return None if libraries is None else _digest(builder, libraries, _content(config))


def of_commit(builder: Builder, config: Mapping[str, Any], model: ModelIdentity) -> str | None:
    """Of what takes other files of the repo, too, which its commit fixes; None where there is none."""
    if model.source == "local":
        return None
    if builder == "header":
        return _digest(builder, None, _content(config), model.source, model.id, model.revision)
    libraries = fingerprint.of_everything() if builder == "remote-code" else fingerprint.of_libraries()
    return (
        None if libraries is None else _digest(builder, libraries, _content(config), model.id, model.revision)
    )


def _digest(*parts: object) -> str:
    told = json.dumps([SCHEMA_VERSION, fingerprint.of_ourselves(), *parts])
    return hashlib.sha256(told.encode()).hexdigest()


def _content(data: Any) -> Any:
    """A configuration without what only names its writer, at whatever depth."""
    if isinstance(data, Mapping):
        return {key: _content(value) for key, value in data.items() if key not in _OF_THE_WRITER}
    return [_content(item) for item in data] if isinstance(data, list) else data
