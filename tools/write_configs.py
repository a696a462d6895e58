"""The configurations that benchmarks build from, as folders with a config.json each.

A process of its own: what it imports must not count as the memory of the processes that are measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
Configs = dict[str, Mapping[str, Any]]


def main() -> None:
    """`write_configs.py types FOLDER`."""
    which, folder = sys.argv[1], Path(sys.argv[2])
    for name, config in SOURCES[which]().items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")


def types() -> Configs:
    """Every multimodal type, as the tests configure it."""
    sys.path.insert(0, str(ROOT))
    from tests.every_type import TYPES, config_of

    return {name: config_of(name) for name in TYPES}


def built_in() -> Configs:
    """The models of the catalogue that transformers has a class for."""
    from vlm_inspect.build import native
    from vlm_inspect.errors import NotNativeError
    from vlm_inspect.sources import catalogue

    configs: Configs = {}
    for name in catalogue.names():
        config = catalogue.load(name).config
        try:
            native.build(config, name)
        except NotNativeError:
            continue
        configs[name.replace("/", "__")] = config
    return configs


def twenty() -> Configs:
    """Twenty types that need no extra package, from all over the alphabet."""
    known = _of_libraries_alone()
    names = sorted(known)
    return {name: known[name] for name in names[:: len(names) // 20][:20]}


def many() -> Configs:
    """Two thousand models of fifty architectures, in turn. Each says another name of itself, as copies do."""
    known = list(_of_libraries_alone().values())[:50]
    return {
        f"{number:04}": {**known[number % len(known)], "_name_or_path": f"org/model-{number}"}
        for number in range(2_000)
    }


def _of_libraries_alone() -> Configs:
    from tests.every_type import NEEDS_EXTRA

    return {name: config for name, config in types().items() if name not in NEEDS_EXTRA}


SOURCES: Mapping[str, Callable[[], Configs]] = {
    "types": types,
    "built-in": built_in,
    "twenty": twenty,
    "many": many,
}

if __name__ == "__main__":
    main()
