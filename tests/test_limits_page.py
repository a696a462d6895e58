"""The limits in docs/security.md are the values of constants in the code."""

import ast
import operator
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<limit>[\d,*]+) \| `[\w.]*?(?P<constant>\w+)` \|$", re.MULTILINE)
ROWS = [(row["constant"], row["limit"], row["what"]) for row in ROW.finditer(PAGE)]
OPERATORS = {ast.Mult: operator.mul, ast.Pow: operator.pow}


def value(node):
    """The value of an arithmetic expression, or None where it is something else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value(node.left), value(node.right))
    return None


def constants():
    """The values of each public constant name in the package; several modules may have one of that name."""
    found = defaultdict(set)
    for path in (ROOT / "vlm_inspect").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id].add(value(node.value))
    return found


CONSTANTS = constants()


def test_the_page_has_limits():
    assert len(ROWS) >= 8


@pytest.mark.parametrize(("constant", "limit", "what"), ROWS, ids=[row[0] for row in ROWS])
def test_a_limit_is_the_value_of_its_constant(constant, limit, what):
    assert value(ast.parse(limit.replace(",", ""), mode="eval").body) in CONSTANTS[constant], what
