"""Snapshots in files: one per model, pretty, in a fixed order, one fact per line.

A file holds the record of the contract with the folded module tree beside it, and the branch that it
follows. There is no clock, no machine and no path in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from vlm_inspect.architecture import SCHEMA_VERSION
from vlm_inspect.codec import architecture_from_data, to_data
from vlm_inspect.errors import InvalidConfigError, SnapshotError
from vlm_inspect.patterns import can_be_a_part
from vlm_inspect.snapshot import Snapshot
from vlm_inspect.tree import INFERRED, ModuleNode, NodePool, Shape

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes of a snapshot file that are read; a record of 100,000 modules is far below."""
MOST_MODULES = 200_000
"""Modules of a tree, unfolded: a few lines can fold what no memory holds."""
DEEPEST = 200
"""Modules inside one another."""
MOST_DIMENSIONS = 16
"""Of a parameter's shape."""
LONGEST_NUMBER = 40
"""Digits of any number."""
_LARGEST_SIDE = 2**63
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # names that Windows keeps for devices
_LONGEST_SLUG = 100
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")
_LONGEST_REASON = 300
_SHOWN = 80
_MERGE_MARKER = re.compile(rb"^(<{7} |={7}$|>{7} )", re.MULTILINE)
_NUMBERS = re.compile(r"\[\s+((?:-?\d+,\s+)*-?\d+)\s+\]")


class Stored(Struct, frozen=True, eq=False):
    """What a snapshot file says."""

    snapshot: Snapshot
    follows: str | None = None
    """The branch or tag that the model was asked for by; None where it was asked for by none."""


def file_name(model: str) -> str:
    """The name of a model's file: it cannot leave its folder, and no two models share one.

    A plain name (`llava-hf/llava-1.5-7b-hf`) is its own. Others carry a digest, since file systems fold
    case and a folder's name may look like another's id.
    """
    plain = _PLAIN_NAME.fullmatch(model) and "--" not in model and not model.endswith(".")
    if plain and len(model) <= _LONGEST_SLUG and not _RESERVED.fullmatch(model):
        return f"{model.replace('/', '--')}.json"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip(".-")[:_LONGEST_SLUG]
    if _RESERVED.fullmatch(slug.lower()):  # up to the first dot, whatever follows it
        slug = slug.replace(".", "-")
    import hashlib  # loads OpenSSL, which whoever only reads files has no use for

    digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{slug}~{digest}.json"


def to_text(stored: Stored) -> str:
    """The content of a snapshot file."""
    data = _sorted(to_data(stored.snapshot.architecture))
    data["follows"] = stored.follows
    modules = stored.snapshot.modules
    data["modules"] = _node_data(modules) if modules is not None else None
    text = json.dumps(data, indent=2, ensure_ascii=True)
    # a shape is one fact, and belongs on one line
    return _NUMBERS.sub(lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text) + "\n"


def from_text(content: bytes, name: str) -> Stored:
    """What `to_text` wrote. Raises SnapshotError, which names the file and says what is wrong with it."""
    data = _parsed(content, name)
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SnapshotError(
            f"{name}: written with schema {_shown(version)}; this vlm-inspect reads schema {SCHEMA_VERSION}.",
            hint=_hint(version),
        )
    modules, follows = data.pop("modules", None), data.pop("follows", None)
    try:
        architecture = architecture_from_data(data)
        root = _Reader().node(modules) if modules is not None else None
    except RecursionError as error:
        raise SnapshotError(f"{name}: it is nested too deep to be one.", hint=_REWRITE) from error
    except OverflowError as error:
        raise _too_long(name) from error
    except (InvalidConfigError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise SnapshotError(f"{name}: {str(error)[:_LONGEST_REASON]}", hint=_REWRITE) from error
    return Stored(Snapshot(architecture, root), follows if isinstance(follows, str) else None)


def read(path: Path) -> Stored:
    """The snapshot in a file. Raises SnapshotError."""
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as error:
        raise SnapshotError(f"{path.name}: {error.strerror or error}", hint="Check the file.") from error
    if size > LARGEST_FILE:
        raise SnapshotError(f"{path.name}: {size:,} bytes, and the limit is {LARGEST_FILE:,}.", hint=_REWRITE)
    return from_text(content, path.name)


def read_if_snapshot(path: Path) -> Stored | None:
    """The snapshot in a file; None where the path is anything else, a config.json among others."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        content = path.read_bytes()
        known = b'"schema_version"' in content and is_snapshot(json.loads(content))
    except (OSError, ValueError, RecursionError):
        return None
    return from_text(content, path.name) if known else None


def files_in(folder: Path) -> list[Path]:
    """The snapshot files of a folder, sorted by name; none where there is no folder."""
    return sorted(path for path in folder.glob("*.json") if path.is_file()) if folder.is_dir() else []


def is_snapshot(data: Any) -> bool:
    """Whether the content of a JSON file is a record of this tool."""
    return isinstance(data, Mapping) and "schema_version" in data and "components" in data


_REWRITE = "Write it again: vlm-inspect snapshot"


def _hint(version: object) -> str:
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return "It was written by a newer vlm-inspect: upgrade this one."
    return _REWRITE


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    if not content.strip():
        raise SnapshotError(f"{name}: the file is empty.", hint=_REWRITE)
    if _MERGE_MARKER.search(content):
        raise SnapshotError(f"{name}: it holds the markers of a merge conflict.", hint=_REWRITE)
    try:
        data = json.loads(content, parse_int=_number)
    except OverflowError as error:
        raise _too_long(name) from error
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise SnapshotError(f"{name}: not JSON{where}, or cut short.", hint=_REWRITE) from error
    if not is_snapshot(data):
        raise SnapshotError(f"{name}: JSON, and no snapshot of vlm-inspect.", hint=_REWRITE)
    return dict(data)


def _shown(value: object) -> str:
    """A stranger's value, not long."""
    told = repr(value)
    return told if len(told) <= _SHOWN else told[: _SHOWN - 1] + "…"


def _too_long(name: str) -> SnapshotError:
    return SnapshotError(f"{name}: it holds a number that is too long to be one.", hint=_REWRITE)


def _number(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise OverflowError
    return int(digits)


def _sorted(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _sorted(data[key]) for key in sorted(data)}
    return [_sorted(item) for item in data] if isinstance(data, (list, tuple)) else data


# --- the folded tree -----------------------------------------------------------------------------------


def _node_data(node: ModuleNode) -> dict[str, Any]:
    # why it is unknown stands in the record, under `modules`
    data: dict[str, Any] = {"class": None if node.inferred else node.class_name}
    if node.parameters:
        data["parameters"] = {name: list(shape) for name, shape in node.parameters}
    if node.children:
        data["children"] = {name: _node_data(child) for name, child in _runs(node.children)}
    return data


def _runs(children: tuple[tuple[str, ModuleNode], ...]) -> Iterator[tuple[str, ModuleNode]]:
    """Children with runs of equal numbered ones as one: `0-31`."""
    index = 0
    while index < len(children):
        name, node = children[index]
        last = index
        while name.isdigit() and last + 1 < len(children) and _follows(children[last], children[last + 1]):
            last += 1
        yield (name if last == index else f"{name}-{children[last][0]}"), node
        index = last + 1


def _follows(one: tuple[str, ModuleNode], other: tuple[str, ModuleNode]) -> bool:
    return other[1] is one[1] and other[0].isdigit() and other[0] == str(int(one[0]) + 1)


class _Reader:
    """Builds a tree again, and counts as it goes: what is too large is refused before it is there."""

    def __init__(self) -> None:
        self._pool = NodePool()
        self._sizes: dict[int, int] = {}

    def node(self, data: Any, depth: int = 0) -> ModuleNode:
        """A node and all below. Raises ValueError."""
        if depth > DEEPEST:
            raise ValueError(f"modules are nested more than {DEEPEST} deep")
        children: list[tuple[str, ModuleNode]] = []
        size = 1
        for name, child in data.get("children", {}).items():
            node = self.node(child, depth + 1)
            names = _unfolded(name)
            size = _checked(size + len(names) * self._sizes[id(node)])
            children += [(str(each), node) for each in names]
        parameters = tuple((str(name), _shape(shape)) for name, shape in data.get("parameters", {}).items())
        class_name = INFERRED if data["class"] is None else str(data["class"])
        made = self._pool.node(class_name, parameters=parameters, children=tuple(children))
        self._sizes[id(made)] = size
        return made


def _checked(size: int) -> int:
    if size > MOST_MODULES:
        raise ValueError(f"more than {MOST_MODULES:,} modules")
    return size


def _unfolded(name: str) -> Sequence[str] | range:
    match = _RANGE.fullmatch(name)
    if match is None:
        if not can_be_a_part(name):
            raise ValueError(f"{_shown(name)} is no name of a module")
        return [name]
    first, last = (_number(number) for number in match.groups())
    if last - first > MOST_MODULES:
        raise ValueError(f"no model has the layers {name}")
    return range(first, last + 1)


def _shape(sides: Any) -> Shape:
    is_list = isinstance(sides, list) and len(sides) <= MOST_DIMENSIONS
    if not is_list or not all(type(side) is int and 0 <= side < _LARGEST_SIDE for side in sides):
        raise ValueError(f"{_shown(sides)} is no shape")
    return tuple(sides)
