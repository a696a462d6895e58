"""The rooms and their order: every import inside the package goes down, and siblings do not meet."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vlm_inspect"

# from the ground up; rooms on one line are siblings
FLOORS = [
    ["version"],
    ["atomic_files"],
    ["kept_files"],
    ["errors"],
    ["installed"],
    ["builder"],
    ["ref"],
    ["checkpoint"],
    ["tree"],
    ["tensors"],
    ["patterns"],
    ["architecture"],
    ["snapshot"],
    ["difference"],
    ["verdict"],
    ["fit"],
    ["diagnosis"],
    ["codec", "tree_codec", "daemon_threads", "short_waits"],
    [
        "cache",
        "sources",
        "build",
        "anatomy",
        "render",
        "documents",
        "settings",
        "catalogue",
        "compare",
        "fitting",
    ],
    ["workers"],
    ["batch", "snapshot_files", "builders"],
    ["kept_answers"],
    ["inspection", "requested", "verification", "doctor"],
    ["many"],
    ["app", "answers"],
    ["table_files", "upkeep"],
    ["checking"],
    ["__init__"],
    ["cli"],
    ["__main__"],
]
RANK = {room: rank for rank, floor in enumerate(FLOORS) for room in floor}

# the packages that a room may import beside the standard library; a prefix of the module's path
ALLOWED = {
    "": {"msgspec"},  # what records are made of, everywhere
    "cli": {"typer", "rich"},
    "sources": {"huggingface_hub", "tomllib", "tomli"},
    "settings": {"tomllib", "tomli"},
    "installed": {"packaging"},
    "cache": {"huggingface_hub"},
    "build": {"torch", "transformers", "accelerate"},
    "build/remote": {"landlockpy"},
    "render/terminal": {"rich"},
    "render": {"jinja2"},
    "version": set(),
}
HEAVY = {"torch", "transformers", "accelerate", "huggingface_hub", "jinja2", "landlockpy"}
STANDARD_LIBRARY = set(__import__("sys").stdlib_module_names)


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def for_types_only(node):
    """`if TYPE_CHECKING:` is read by type checkers and never runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_of(path):
    """Every (module imported, whether only when asked) of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    inside |= {id(node) for block in ast.walk(tree) if for_types_only(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module, id(node) in inside
            if node.module == "vlm_inspect":
                for alias in node.names:
                    yield f"vlm_inspect.{alias.name}", id(node) in inside


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_import_goes_down(path):
    room = room_of(path)
    assert room in RANK, f"give {room} a floor in this test and a line in docs/architecture.md"
    for module, _ in imports_of(path):
        parts = module.split(".")
        if parts[0] != "vlm_inspect" or len(parts) == 1:
            continue
        target = parts[1]
        assert target == room or RANK[target] < RANK[room], f"{room} imports {target}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_the_packages_it_may(path):
    relative = path.relative_to(PACKAGE).with_suffix("").as_posix()
    allowed = set().union(*(packages for place, packages in ALLOWED.items() if relative.startswith(place)))
    for module, _ in imports_of(path):
        package = module.split(".")[0]
        if package in STANDARD_LIBRARY or package == "vlm_inspect":
            continue
        assert package in allowed, f"{relative} imports {package}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_inside_functions(path):
    for module, inside_function in imports_of(path):
        if module.split(".")[0] in HEAVY:
            assert inside_function, f"{path.name} imports {module} when it is itself imported"
