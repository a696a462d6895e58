"""Which class `AutoModel.from_config(config)` and its kin choose: transformers' own tables, read as text."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.values import ClassRef, Instance, Table, Unknown, Value

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

AUTO = re.compile(r"Auto[A-Z]\w*$")


def auto_class(machine: Machine, what: ClassRef, config: Value) -> Value:
    """The class for a configuration: of the repository where it says so, or by its `model_type`."""
    own = _of_repository(machine, what.name, config)
    if own is not None:
        return own
    kind = _text(machine, config, "model_type")
    table = _table(machine, what)
    if kind is None or table is None:
        return Unknown(f"{what.name} chooses the class by a configuration that the text does not tell")
    name = table.get(kind)
    name = name[0] if isinstance(name, tuple) and name else name
    home = machine.program.home_of(name) if isinstance(name, str) else None
    if isinstance(home, Scope) and isinstance(name, str):
        return machine.name(home, name)
    return Unknown(f"transformers has no class for {kind[:50]!r} in {what.name}")


def own_class(machine: Machine, reference: str) -> Value:
    """A class of the repository as `auto_map` names it: `modeling_phi3_v.Phi3VForCausalLM`."""
    if "--" in reference:
        return Unknown(f"{reference.partition('--')[0][:80]} is another repository")
    module, _, name = reference.rpartition(".")
    scope = machine.program.scope(f".{module}")
    return machine.name(scope, name) if isinstance(scope, Scope) else scope


def _of_repository(machine: Machine, auto: str, config: Value) -> Value | None:
    table = config.attributes.get("auto_map") if isinstance(config, Instance) else None
    table = config.get("auto_map") if isinstance(config, Table) else table
    reference = table.get(auto) if isinstance(table, Table) else None
    return own_class(machine, reference) if isinstance(reference, str) else None


def _text(machine: Machine, config: Value, name: str) -> str | None:
    value = machine.attribute(config, name) if isinstance(config, (Instance, Table)) else None
    return value if isinstance(value, str) else None


def _table(machine: Machine, what: ClassRef) -> Table | None:
    """`_model_mapping = MODEL_MAPPING` names the table whose texts are `MODEL_MAPPING_NAMES`."""
    for statement in what.node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
            found = machine.name(what.scope, f"{statement.value.id}_NAMES")
            if isinstance(found, Table):
                return found
    return None
