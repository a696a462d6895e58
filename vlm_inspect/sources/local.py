"""A model's configuration from a folder with a config.json, or from the file itself."""

from __future__ import annotations

from pathlib import Path

from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import ConfigMissingError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.sources.config_file import read_config

_CONFIG = "config.json"


def load(ref: ModelRef) -> Checkpoint:
    """Load the configuration at a path. Raises ConfigMissingError or InvalidConfigError."""
    if ref.path is None:
        raise ValueError(f"{ref.name} is not a path")
    config = read_config(_config_path(ref.path, ref.name), ref.name)
    return Checkpoint(ModelIdentity(id=_folder_name(ref.path), source="local"), config)


def _config_path(path: Path, typed: str) -> Path:
    try:
        if path.is_dir():
            path = path / _CONFIG
            if not path.exists():
                raise ConfigMissingError(
                    f"{typed}: the folder has no config.json.",
                    hint="Use the folder where the model was saved: it contains config.json and the weights.",
                    model=typed,
                )
        elif not path.exists():
            raise ConfigMissingError(
                f"{typed}: there is no such file or folder.",
                hint="Check the path. Models on the Hub are written org/name, without ./ or .json.",
                model=typed,
            )
    except OSError as error:  # a folder without permission, a name that is too long
        raise ConfigMissingError(
            f"{typed}: cannot be read: {error.strerror}.",
            hint="Check the path and its permissions.",
            model=typed,
        ) from error
    return path


def _folder_name(path: Path) -> str:
    """The model's name in records: the folder's name, without its path on this machine."""
    resolved = path.resolve()
    if resolved.is_dir():
        return resolved.name or _CONFIG
    return resolved.parent.name or resolved.stem if path.name == _CONFIG else path.stem
