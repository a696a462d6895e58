"""A folder with a config.json, or a config.json."""

from __future__ import annotations

from pathlib import Path

from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import ConfigMissingError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.sources.config_file import read_config

_CONFIG = "config.json"


def load(ref: ModelRef) -> Checkpoint:
    """The configuration at a path. Raises ConfigMissingError or InvalidConfigError."""
    if ref.path is None:
        raise ValueError(f"{ref.name} names no path")
    config = read_config(_find(ref.path, ref.name), ref.name)
    return Checkpoint(ModelIdentity(id=_own_name(ref.path), source="local"), config)


def _find(path: Path, typed: str) -> Path:
    """The file to read. What is missing is told apart: the path, or the folder's config.json."""
    try:
        if path.is_dir():
            path = path / _CONFIG
            if not path.exists():
                raise ConfigMissingError(
                    f"{typed}: the folder has no config.json.",
                    hint="Give the folder that the model was saved in: config.json lies beside the weights.",
                    model=typed,
                )
        elif not path.exists():
            raise ConfigMissingError(
                f"{typed}: there is no such file or folder.",
                hint="Check the path. A model on the Hub is named org/name, without ./ or .json.",
                model=typed,
            )
    except OSError as error:  # a parent that may not be entered, a name that is too long
        raise ConfigMissingError(
            f"{typed}: cannot be looked at: {error.strerror}.",
            hint="Check the path, and that you may read it.",
            model=typed,
        ) from error
    return path


def _own_name(path: Path) -> str:
    """The model's name in records: the folder's own, never where it lies on this machine."""
    resolved = path.resolve()
    if resolved.is_dir():
        return resolved.name or _CONFIG
    return resolved.parent.name or resolved.stem if path.name == _CONFIG else path.stem
