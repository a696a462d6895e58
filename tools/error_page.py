"""Write docs/errors.md: every error that vlm-inspect tells its users, read off its source.

A sentence's changing parts are shown as `{name}`. `--check` only says whether the page is stale.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlm_inspect import errors
from vlm_inspect.cli import exits

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "errors.md"
HEAD = """# Errors

Every error ends with what to type next. This page is generated from the source (`make errors`): all
sentences that vlm-inspect can say, by class; `{…}` stands for what changes, and an empty place for a hint
that depends on the case. Python callers catch `VlmInspectError`, which all of them are; `message`, `hint`
and `model` are its fields.

| exit code | means |
| --- | --- |
| 0 | answered, and nothing differs |
| 1 | a difference, a stale file or a mismatch was found |
| 2 | the command line, a configuration file or a marked file is wrong |
| 3 | a model could not be answered; the others are still printed |
| 4 | a bug in vlm-inspect |
| 130 | interrupted |

Told to stop by SIGTERM or SIGHUP, it tidies up within a second and ends by that signal: 143 or 129 in a
shell. What it was started to ignore (`nohup`, `&` in a script), it ignores.
"""


@dataclass(frozen=True)
class Sentence:
    """What an error says, and what to type next, where the source says both in one place."""

    message: str
    hint: str


def page() -> str:
    """The whole page."""
    said = sentences()
    parts = [HEAD, "```text", *_tree(errors.VlmInspectError), "```"]
    for kind in _kinds(errors.VlmInspectError):
        parts += ["", f"## {kind.__name__}", "", f"{inspect.getdoc(kind)} Exit code {_code(kind)}."]
        rows = [f"| {_cell(each.message)} | {_cell(each.hint)} |" for each in said.get(kind.__name__, [])]
        if rows:
            parts += ["", "| says | and then |", "| --- | --- |", *rows]
    return "\n".join(parts) + "\n"


def sentences() -> dict[str, list[Sentence]]:
    """Class name → its sentences, in the order of the source."""
    found: dict[str, list[Sentence]] = defaultdict(list)
    names = {kind.__name__ for kind in _kinds(errors.VlmInspectError)}
    for path in sorted((ROOT / "vlm_inspect").rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        constants = _constants(module)
        for call in ast.walk(module):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
                sentence = _sentence(call, constants)
                if sentence is not None and sentence not in found[call.func.id]:
                    found[call.func.id].append(sentence)
    return found


def _constants(module: ast.Module) -> dict[str, str]:
    """The module's own names for fixed text: `_LOGIN`."""
    return {
        node.targets[0].id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _sentence(call: ast.Call, constants: dict[str, str]) -> Sentence | None:
    message = _text(call.args[0], constants) if call.args else None
    hints = [keyword.value for keyword in call.keywords if keyword.arg == "hint"]
    return Sentence(message, (_text(hints[0], constants) if hints else None) or "") if message else None


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    """A string as it is written, with what changes named; None for what is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part, constants) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left, constants) or "…") + (_text(node.right, constants) or "…")
    return None


def _part(part: ast.expr, constants: dict[str, str]) -> str:
    """A fixed part of a sentence as it is; a changing one by the name that it has in the source."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    names = [node for node in ast.walk(part) if isinstance(node, (ast.Name, ast.Attribute))]
    name = "…" if not names else names[0].attr if isinstance(names[0], ast.Attribute) else names[0].id
    return constants.get(name) or f"{{{name.strip('_')}}}"


def _kinds(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _tree(kind: type, indent: str = "") -> Iterator[str]:
    yield indent + kind.__name__
    for below in kind.__subclasses__():
        yield from _tree(below, indent + "    ")


def _code(kind: type) -> int:
    return exits.WRONG_COMMAND_LINE if issubclass(kind, exits.USAGE_ERRORS) else exits.NOT_ANSWERED


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the page, or with --check say whether it is stale."""
    wanted = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == wanted else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
