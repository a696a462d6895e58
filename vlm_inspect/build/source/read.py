"""From a configuration and the texts of its repository to the object that its constructors would make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.build.headers.config_parts import first_architecture
from vlm_inspect.build.source.auto_classes import own_class
from vlm_inspect.build.source.bases import is_config
from vlm_inspect.build.source.configs import wrapped
from vlm_inspect.build.source.library import Library
from vlm_inspect.build.source.machine import Machine, TooLongError
from vlm_inspect.build.source.program import Program
from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.values import ClassRef, Instance, Table, Unknown, Value

_KERNELS = {
    "_supports_flash_attn": "flash_attention",
    "_supports_flash_attn_2": "flash_attention",
    "_supports_sdpa": "sdpa",
    "_supports_flex_attn": "flex_attention",
}
_TOO_LONG = Unknown("following its code takes longer than any model should")


class Reading(Struct, frozen=True):
    """What the texts say."""

    model: Value
    """An `Instance`, or why there is none."""
    supports: tuple[str, ...] | None = None
    """Attention kernels that the class says it supports; None where not all of its bases were read."""


def read(config: Mapping[str, Any], code: Mapping[str, str]) -> Reading:
    """Follow the constructor of the class that the configuration names. Nothing is imported or run."""
    machine = Machine(Program(code, Library()))
    try:
        return _read(machine, config)
    except (TooLongError, RecursionError):
        return Reading(_TOO_LONG)


def _read(machine: Machine, config: Mapping[str, Any]) -> Reading:
    what = _model_class(machine, config)
    if not isinstance(what, ClassRef):
        return Reading(what if isinstance(what, Unknown) else Unknown("its code names no class for it"))
    model = machine.call(what, [_configuration(machine, config)], {})
    return Reading(model, _supports(machine, what, model))


def _model_class(machine: Machine, config: Mapping[str, Any]) -> Value:
    """The class that `auto_map` names as the architecture is called, or else the first that it names."""
    table = config.get("auto_map")
    named = (
        {key: value for key, value in table.items() if isinstance(value, str)}
        if isinstance(table, Mapping)
        else {}
    )
    models = [value for key, value in named.items() if key.startswith("AutoModel")]
    stated = first_architecture(config)
    exact = [value for value in models if value.rpartition(".")[2] == stated]
    if exact or models:
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
    if isinstance(what, ClassRef) and isinstance(data, Table) and is_config(machine.line_of(what)):
        return machine.call(what, [], {str(key): value for key, value in data.items()})
    return data


def _supports(machine: Machine, what: ClassRef, model: Value) -> tuple[str, ...] | None:
    if not isinstance(model, Instance) or model.open_reason:
        return None
    flags = {kernel for flag, kernel in _KERNELS.items() if machine.attribute(what, flag) is True}
    return tuple(sorted(flags))
