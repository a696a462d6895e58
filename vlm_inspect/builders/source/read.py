"""From a configuration and the source of its repository to the object that its constructors would make.

A partial evaluator: constructors are followed statement by statement, and whatever they do not decide stays
unknown. Arguments, tables of classes, loops and the defaults of configurations decide which class a module
is of, so all of these are evaluated.
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
from vlm_inspect.builders.source.machine import Handlers, Machine, TooLongError
from vlm_inspect.builders.source.names import own_class, value_of
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import ClassRef, Instance, Table, Unknown, Value, wrapped

_HANDLERS = Handlers(evaluate, run, call, value_of, attribute)
_KERNELS = {
    "_supports_flash_attn": "flash_attention",
    "_supports_flash_attn_2": "flash_attention",
    "_supports_sdpa": "sdpa",
    "_supports_flex_attn": "flex_attention",
}


class Reading(Struct, frozen=True):
    """What the source says."""

    model: Value
    """An `Instance`, or `Unknown` with the reason why there is none."""
    supports: tuple[str, ...] | None = None
    """Attention kernels that the class says it supports; None where not all of its bases were read."""


def read(config: Mapping[str, Any], code: Mapping[str, str]) -> Reading:
    """Follow the constructor of the class that the configuration names. Nothing is imported or run."""
    machine = Machine(Program(code), _HANDLERS)
    try:
        what = _model_class(machine, config)
        if not isinstance(what, ClassRef):
            return Reading(what if isinstance(what, Unknown) else Unknown("its code names no class for it"))
        model = machine.call(what, [_configuration(machine, config)], {})
        whole = isinstance(model, Instance) and not model.open_reason
        flags = {kernel for flag, kernel in _KERNELS.items() if machine.attribute(what, flag) is True}
        return Reading(model, tuple(sorted(flags)) if whole else None)
    except (TooLongError, RecursionError):
        return Reading(Unknown("following its code takes longer than any model should"))


def _model_class(machine: Machine, config: Mapping[str, Any]) -> Value:
    """The class of `auto_map` that is called as the architecture is, or else the first of its models."""
    table = config.get("auto_map")
    named = table.items() if isinstance(table, Mapping) else ()
    models = [each for key, each in named if isinstance(each, str) and key.startswith("AutoModel")]
    stated = first_architecture(config)
    exact = [each for each in models if each.rpartition(".")[2] == stated]
    if models:
        return own_class(machine, (exact or models)[0])
    if stated is None:
        return Unknown("its configuration names no class")
    home = machine.program.home_of(stated)
    return machine.name(home, stated) if isinstance(home, Scope) else home


def _configuration(machine: Machine, config: Mapping[str, Any]) -> Value:
    """The configuration as its own class reads it; as it is where that class is not read."""
    data = wrapped(config)
    table = config.get("auto_map")
    reference = table.get("AutoConfig") if isinstance(table, Mapping) else None
    what = own_class(machine, reference) if isinstance(reference, str) else None
    if isinstance(what, ClassRef) and isinstance(data, Table) and is_config(bases_of(machine, what)):
        return machine.call(what, [], {str(key): value for key, value in data.items()})
    return data
