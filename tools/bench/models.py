"""Write the model folders of the benchmarks: `python -m tools.bench.models KIND FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import checkpoints
from tests.every_type import NEEDS_EXTRA, TYPES, config_of
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.sources import catalogue

_LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}


def main() -> None:
    """Write the models of one kind: types, twenty, built-in or checkpoint."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "checkpoint":
        checkpoints.save(folder / "llava", _LLAVA, shards=3)
    elif kind == "built-in":
        _write(folder, _built_in())
    else:
        standard = [name for name in TYPES if name not in NEEDS_EXTRA]
        names = TYPES if kind == "types" else standard[:: len(standard) // 20][:20]
        _write(folder, {name: config_of(name) for name in names})


def _write(folder: Path, configs: Mapping[str, Any]) -> None:
    for name, config in configs.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")


def _built_in() -> Mapping[str, Any]:
    """The models of the catalogue that transformers has a class for."""
    configs = {}
    for name in catalogue.names():
        config = catalogue.load(name).config
        try:
            build.build(config, name)
        except NotNativeError:
            continue
        configs[name.replace("/", "__")] = config
    return configs


if __name__ == "__main__":
    main()
