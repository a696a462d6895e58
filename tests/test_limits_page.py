"""The limits in docs/security.md are the values of the constants that it names."""

import ast
import operator
import re
from pathlib import Path

import pytest

from vlm_inspect.builders.sandbox.process import Limits
from vlm_inspect.core.options import InspectOptions

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| [^|]+ \| (?P<limit>[\d,]+) \| `(?P<module>[\w.]+)\.(?P<constant>[A-Z_]+)` \|$", re.MULTILINE)
ROWS = [(row["module"], row["constant"], int(row["limit"].replace(",", ""))) for row in ROW.finditer(PAGE)]
OPERATORS = {ast.Mult: operator.mul, ast.Pow: operator.pow}


def value(node):
    """The value of an arithmetic expression."""
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](value(node.left), value(node.right))
    return ast.literal_eval(node)


def test_the_page_has_limits():
    table = PAGE.partition("## Limits")[2].partition("\n## ")[0]
    assert len(ROWS) == len(re.findall(r"^\| [^|]+ \| [\d,]+ \|", table, re.MULTILINE)) >= 8


@pytest.mark.parametrize(("module", "constant", "limit"), ROWS, ids=[row[1] for row in ROWS])
def test_a_limit_is_the_value_of_its_constant(module, constant, limit):
    path = ROOT / "vlm_inspect" / f"{module.replace('.', '/')}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assignments = [node for node in body if isinstance(node, ast.Assign)]
    (found,) = [node.value for node in assignments if ast.unparse(node.targets[0]) == constant]
    assert value(found) == limit


def test_the_limits_of_the_sandbox_and_of_the_hub_are_stated():
    limits = Limits()
    assert f"more than {limits.memory // 2**30} GiB of memory" in PAGE
    assert f"more than {limits.seconds} s" in PAGE
    assert f"may take {InspectOptions().timeout:g} seconds each" in PAGE
