"""The limits that the page on security states are those of the code."""

import ast
import importlib
import operator
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<limit>[\d,*]+) \| `(?P<constant>[\w.]+)` \|$", re.MULTILINE)
ROWS = [(row["constant"], row["limit"], row["what"]) for row in ROW.finditer(PAGE)]
# the files whose public constants say what a stranger's file may hold
OF_STRANGERS = (
    "sources/config_file",
    "build/limits",
    "sources/safetensors",
    "sources/code_files",
    "storage/snapshots",
)
LIMIT = re.compile(r"(MOST|LONGEST|LARGEST|DEEPEST)_?\w*|\w+_LIMIT")


def number(text):
    base, _, power = text.replace(",", "").partition("**")
    return operator.pow(int(base), int(power or 1))


@pytest.mark.parametrize(("constant", "limit", "what"), ROWS, ids=[row[0] for row in ROWS])
def test_a_stated_limit_is_the_code_s(constant, limit, what):
    module, _, name = constant.rpartition(".")
    assert getattr(importlib.import_module(f"vlm_inspect.{module}"), name) == number(limit), what


@pytest.mark.parametrize("file", OF_STRANGERS)
def test_every_limit_is_stated(file):
    tree = ast.parse((ROOT / "vlm_inspect" / f"{file}.py").read_text(encoding="utf-8"))
    names = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    wanted = {f"{file.replace('/', '.')}.{name}" for name in names if LIMIT.fullmatch(name)}
    assert wanted
    assert wanted <= {constant for constant, _, _ in ROWS}
