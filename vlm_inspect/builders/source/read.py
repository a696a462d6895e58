"""Read the model that a repository's source would construct for a configuration.

This is a partial evaluator: constructors are evaluated statement by statement, and what the source does not
decide stays unknown. The class of a module may depend on arguments, tables of classes, loops and the defaults
of configurations, so all of these are evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.headers.config import first_architecture
from vlm_inspect.builders.source.calls import call
from vlm_inspect.builders.source.classes import attribute, bases_of, is_config
from vlm_inspect.builders.source.evaluate import evaluate
from vlm_inspect.builders.source.execute import run
from vlm_inspect.builders.source.files import Program
from vlm_inspect.builders.source.forwards import ForwardReader, with_installed_forwards
from vlm_inspect.builders.source.machine import Handlers, Machine, TooLongError
from vlm_inspect.builders.source.names import global_value, repository_class
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import ClassRef, Instance, Table, Unknown, Value, from_json
from vlm_inspect.core.module_tree import ModuleTree

_HANDLERS = Handlers(evaluate, run, call, global_value, attribute)
_ATTENTION_FLAGS = {
    "_supports_flash_attn": "flash_attention",
    "_supports_flash_attn_2": "flash_attention",
    "_supports_sdpa": "sdpa",
    "_supports_flex_attn": "flex_attention",
}


class Reading(Struct, frozen=True):
    """The model that the source describes."""

    model: Value  # an `Instance`, or `Unknown` with the reason
    supports: tuple[str, ...] | None = None
    """Attention backends that the class supports; None if not all of its bases were read."""
    forwards: ForwardReader | None = None
    """Reads what the `forward` of its modules does."""


def read(config: Mapping[str, Any], code: Mapping[str, str]) -> Reading:
    """Evaluate the constructor of the class that the configuration names; `code`: texts by file names."""
    machine = Machine(Program(code), _HANDLERS)
    try:
        what = _model_class(machine, config)
        if not isinstance(what, ClassRef):
            return Reading(what if isinstance(what, Unknown) else Unknown("its code names no class for it"))
        model = machine.call(what, [_configuration(machine, config)], {})
        is_complete = isinstance(model, Instance) and not model.incomplete_reason
        backends = {each for flag, each in _ATTENTION_FLAGS.items() if machine.attribute(what, flag) is True}
        return Reading(model, tuple(sorted(backends)) if is_complete else None, ForwardReader(machine))
    except (TooLongError, RecursionError):
        return Reading(Unknown("following its code takes longer than any model should"))


def with_installed_code(tree: ModuleTree) -> ModuleTree:
    """The tree, with the order of use of modules that have the class name and structure of an installed class."""
    return with_installed_forwards(tree, Machine(Program({}, searches=0), _HANDLERS))


def _model_class(machine: Machine, config: Mapping[str, Any]) -> Value:
    """The class in `auto_map` with the name of the architecture, or else its first model class."""
    table = config.get("auto_map")
    named = table.items() if isinstance(table, Mapping) else ()
    models = [each for key, each in named if isinstance(each, str) and key.startswith("AutoModel")]
    architecture = first_architecture(config)
    exact = [each for each in models if each.rpartition(".")[2] == architecture]
    if models:
        return repository_class(machine, (exact or models)[0])
    if architecture is None:
        return Unknown("its configuration names no class")
    home = machine.program.module_declaring(architecture)
    return machine.name(home, architecture) if isinstance(home, Scope) else home


def _configuration(machine: Machine, config: Mapping[str, Any]) -> Value:
    """The configuration as its own class reads it, if the source has that class."""
    data = from_json(config)
    table = config.get("auto_map")
    reference = table.get("AutoConfig") if isinstance(table, Mapping) else None
    what = repository_class(machine, reference) if isinstance(reference, str) else None
    if isinstance(what, ClassRef) and isinstance(data, Table) and is_config(bases_of(machine, what)):
        return machine.call(what, [], {str(key): value for key, value in data.items()})
    return data
