"""Evaluate calls of functions and classes of the source, of known methods, and of some built-in functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from vlm_inspect.builders.source import classes, operators
from vlm_inspect.builders.source.execute import set_attribute, set_entry
from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.machine import Machine
from vlm_inspect.builders.source.names import AUTO, auto_class
from vlm_inspect.builders.source.operators import (
    LARGEST_NUMBER,
    LONGEST_VALUE,
    bounded,
    example_of,
    examples_of,
    items_of,
    truth_value,
)
from vlm_inspect.builders.source.values import (
    CHOSEN_AT_RUN_TIME,
    UNDECIDED,
    UNKNOWN_INDEX,
    Bound,
    Choice,
    ClassRef,
    External,
    FunctionRef,
    Instance,
    Items,
    Kwargs,
    NamePattern,
    Parameter,
    Partial,
    Table,
    Unknown,
    Value,
    Values,
    is_number,
    word_set,
)

_TENSORS = word_set(
    "zeros ones empty rand randn full eye arange linspace tensor as_tensor from_numpy cat stack outer sin "
    "cos exp log zeros_like ones_like triu tril meshgrid einsum pow sqrt rsqrt"
)
_PARAMETERS = {"torch.nn.Parameter", "torch.nn.parameter.Parameter", "torch.nn.Buffer"}
_DEEPEST_COPY = 30


def call(  # noqa: PLR0911 - one line for each kind
    machine: Machine, function: Value, args: Values, kwargs: Kwargs
) -> Value:
    """The result of a call; unknown if the function is not read."""
    if isinstance(function, ClassRef):
        return classes.instantiate(machine, function, args, kwargs)
    if isinstance(function, FunctionRef):
        return classes.run_function(machine, function, args, kwargs)
    if isinstance(function, Bound):
        return _call_bound_method(machine, function, args, kwargs)
    if isinstance(function, Partial):
        return machine.call(function.function, [*function.args, *args], {**function.kwargs, **kwargs})
    if isinstance(function, Choice):
        return Choice.of((machine.call(option, args, kwargs) for option in function.options), CHOSEN_AT_RUN_TIME)
    if isinstance(function, External):
        return _call_external(machine, function, args, kwargs)
    return function if isinstance(function, Unknown) else Unknown()


def _call_external(  # noqa: PLR0911 - one line for each kind
    machine: Machine, what: External, args: Values, kwargs: Kwargs
) -> Value:
    if what.path.startswith("builtins."):
        return _call_builtin(machine, what.name, args, kwargs)
    if what.path in _PARAMETERS or (what.path.startswith("torch.") and what.name in _TENSORS):
        return Parameter()
    if classes.is_torch_module(what):
        made = Instance(what, is_module=True)
        machine.created(made.attributes)
        classes.set_torch_attributes(made, what, args, kwargs)
        return made
    if what.path == "functools.partial" and args:
        return Partial(args[0], tuple(args[1:]), dict(kwargs))
    if what.path == "dataclasses.field":
        return (
            machine.call(kwargs["default_factory"], [], {}) if "default_factory" in kwargs else kwargs.get("default")
        )
    if what.path == "collections.OrderedDict":
        return operators.table_of(*args[:1], **kwargs)
    if what.path in {"copy.deepcopy", "copy.copy"} and args:
        return _deep_copy(machine, args[0])
    if what.path.startswith("math.") and len(args) == 1 and is_number(args[0]):
        return _try_call(_MATHEMATICS.get(what.name), args)
    return Unknown(f"{what.path} is not read")


def _try_call(function: Callable[..., Value] | None, args: Values) -> Value:
    try:
        return function(*args) if function else Unknown()
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return Unknown()


def _call_bound_method(  # noqa: PLR0911 - one line for each kind
    machine: Machine, method: Bound, args: Values, kwargs: Kwargs
) -> Value:
    first, function = method.first, method.function
    if isinstance(function, FunctionRef):
        return classes.run_function(machine, function, [first, *args], kwargs)
    if isinstance(function, Items):  # the bases that `super().__init__` searches
        return classes.construct(machine, first, function, args, kwargs)
    if isinstance(first, ClassRef):
        return _from_config(machine, first, str(function), args, kwargs)
    if isinstance(first, Instance):
        return first if function in classes.IGNORED_METHODS else _add(machine, first, str(function), args, kwargs)
    if isinstance(first, Items):
        return _list_method(machine, str(function), first, args)
    if isinstance(first, Table):
        return _dict_method(machine, str(function), first, args, kwargs)
    if function == "format" and not kwargs:
        return operators.filled(first, operators.BRACES, args)
    plain = all(isinstance(each, str) for each in args) and len(args) <= 2 and not kwargs  # noqa: PLR2004 - replace takes two
    result = _try_call(getattr(first, str(function)), args) if plain else Unknown()
    return Items(result) if isinstance(result, list) else result


def _from_config(machine: Machine, what: ClassRef, maker: str, args: Values, kwargs: Kwargs) -> Value:
    """`Class.from_config(config)`: an instance of the class, or of the class that an Auto class chooses."""
    if classes.is_config(classes.bases_of(machine, what)):
        given = args[0] if args else None
        if maker == "from_dict" and isinstance(given, Table):
            return machine.call(what, [], {str(key): value for key, value in given.items()})
        return Unknown(f"{what.name} is read from a file")
    config = kwargs.get("config", args[0] if args and maker != "from_pretrained" else None)
    if config is None:
        config = Unknown("its configuration is another repository's")
    is_auto = AUTO.match(what.name) and what.scope.name.startswith(PACKAGE)
    chosen = auto_class(machine, what, config) if is_auto else what
    return chosen if isinstance(chosen, Unknown) else machine.call(chosen, [config], {})


def _add(machine: Machine, owner: Instance, method: str, args: Values, kwargs: Kwargs) -> None:
    """Run a method of a module that adds modules."""
    given = [*args, *kwargs.values()]
    if method in {"add_module", "register_module"} and len(given) > 1:
        _add_entries(machine, owner, given[:1], given[1:])
    elif method == "append" and given:
        _add_numbered(machine, owner, given, is_exact=True)
    elif method == "extend" and given:
        added = items_of(given[0])
        examples = [example_of(given[0], UNDECIDED)]
        _add_numbered(machine, owner, examples if added is None else added, is_exact=added is not None)
    elif method == "update" and given and isinstance(given[0], Table):
        _add_entries(machine, owner, examples_of(given[0]), list(given[0].values()))
    elif method == "insert" and len(given) > 1:
        _insert_module(machine, owner, *given[:2])


def _add_entries(machine: Machine, owner: Instance, names: Values, modules: Values) -> None:
    for name, module in zip(names, modules, strict=False):
        set_entry(machine, owner.attributes, name if isinstance(name, (str, Unknown)) else Unknown(), module)


def _add_numbered(machine: Machine, owner: Instance, modules: Values, *, is_exact: bool) -> None:
    for module in modules:
        place = str(len(owner.attributes)) if is_exact and not owner.has_patterns else UNKNOWN_INDEX
        set_entry(machine, owner.attributes, place, module)


def _insert_module(machine: Machine, owner: Instance, place: Value, module: Value) -> None:
    present = items_of(owner)
    if present is None or type(place) is not int:
        for each in [module, *owner.attributes.values()]:  # any of them may have another number now
            set_entry(machine, owner.attributes, UNKNOWN_INDEX, each)
        return
    present.insert(place, module)
    for index, each in enumerate(present):
        machine.set(owner.attributes, str(index), each)


def _list_method(machine: Machine, name: str, owner: Items, args: Values) -> Value:
    if name in {"copy", "index"}:
        return _deep_copy(machine, owner) if name == "copy" else Unknown()
    if name == "append" and args and len(owner) < LONGEST_VALUE:
        machine.append(owner, args[0])
    elif name == "extend" and args:
        more = items_of(args[0])
        content = [*owner, *(examples_of(args[0]) if more is None else more)]
        machine.replace_items(owner, content, exact=owner.exact and more is not None)
    elif name == "insert" and len(args) == 2 and type(args[0]) is int:  # noqa: PLR2004 - place, item
        machine.replace_items(owner, [*owner[: args[0]], args[1], *owner[args[0] :]], exact=owner.exact)
    elif name in {"pop", "reverse"} and owner.exact and all(type(each) is int for each in args):
        content = list(owner)
        result = _try_call(getattr(content, name), args)
        machine.replace_items(owner, content, exact=True)
        return result
    else:
        machine.replace_items(owner, list(owner), exact=False)
    return None


def _dict_method(machine: Machine, name: str, owner: Table, args: Values, kwargs: Kwargs) -> Value:
    if name in {"get", "pop", "setdefault"}:
        key = args[0] if args else None
        if not isinstance(key, (str, int)) or (key not in owner and not owner.exact):
            return Unknown()
        found = owner.get(key, args[1] if len(args) > 1 else None)
        if name == "pop":
            machine.remove(owner, key)
        elif name == "setdefault":
            machine.set(owner, key, found)
        return found
    if name == "update":
        more = operators.table_of(*args[:1], **kwargs)
        for each, value in more.items() if isinstance(more, Table) else ():
            machine.set(owner, each, value)
        owner.exact = owner.exact and isinstance(more, Table) and more.exact
        return None
    if name in {"items", "keys", "values"}:
        keys = examples_of(owner)
        columns = {"items": zip(keys, owner.values(), strict=True), "keys": keys, "values": owner.values()}
        return Items(columns[name], exact=owner.exact)
    return _deep_copy(machine, owner) if name == "copy" else Unknown()


def _deep_copy(machine: Machine, value: Value, depth: int = 0) -> Value:
    machine.spend(1)
    copied = partial(_deep_copy, machine, depth=depth + 1)
    if depth > _DEEPEST_COPY:
        return Unknown()
    if isinstance(value, Instance):
        held = {name: copied(each) for name, each in value.attributes.items()}
        return replace(value, attributes=held, replaced=dict(value.replaced))
    if isinstance(value, Items):
        return Items(map(copied, value), exact=value.exact)
    if isinstance(value, Table):
        return Table({key: copied(each) for key, each in value.items()}, exact=value.exact)
    return value


_KINDS = {"int": int, "float": float, "str": str, "bool": bool, "list": Items, "tuple": tuple, "dict": Table}


def _getattr(machine: Machine, owner: Value, name: Value, *default: Value) -> Value:
    if not isinstance(name, str):
        return Unknown(of=owner if isinstance(owner, Instance) else None)
    found = machine.attribute(owner, name)
    return default[0] if default and isinstance(found, Unknown) and _is_complete(owner) else found


def _hasattr(machine: Machine, owner: Value, name: Value) -> Value:
    if not isinstance(name, str) or isinstance(owner, (Unknown, External)):
        return Unknown()
    if not isinstance(machine.attribute(owner, name), Unknown):
        return True
    return False if _is_complete(owner) and name not in owner.attributes else Unknown()


def _is_complete(value: Value) -> bool:
    return isinstance(value, Instance) and not (value.incomplete_reason or value.is_module or value.has_patterns)


def _setattr(machine: Machine, owner: Value, name: Value, value: Value) -> None:
    if isinstance(name, str):
        set_attribute(machine, owner, name, value)
    elif isinstance(owner, Instance) and isinstance(name, Unknown):
        set_entry(machine, owner.attributes, name, value)
    elif isinstance(owner, Instance):
        owner.incomplete_reason = "an attribute is set under a name that the source does not decide"


def _isinstance(machine: Machine, value: Value, wanted: Value) -> Value:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    answers = [_is_instance_of(machine, value, kind) for kind in kinds]
    return True if True in answers else Unknown() if None in answers else False


def _is_instance_of(machine: Machine, value: Value, kind: Value) -> bool | None:
    if isinstance(value, (Unknown, External)):
        return None
    if isinstance(kind, External) and kind.path.removeprefix("builtins.") in _KINDS:
        return isinstance(value, _KINDS[kind.name])
    if not isinstance(kind, ClassRef):
        return None
    if isinstance(value, Instance) and isinstance(value.made_by, ClassRef):
        bases = classes.bases_of(machine, value.made_by)
        return any(isinstance(each, ClassRef) and each.node is kind.node for each in bases)
    return None if isinstance(value, Instance) else False


_OBJECT_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "getattr": _getattr,
    "hasattr": _hasattr,
    "setattr": _setattr,
    "isinstance": _isinstance,
    "print": lambda *_: None,
}

# --- built-in functions of plain values --------------------------------------------------------------


def _call_builtin(machine: Machine, name: str, args: Values, kwargs: Kwargs) -> Value:
    if name in _OBJECT_FUNCTIONS:
        return _try_call(_OBJECT_FUNCTIONS[name], [machine, *args])
    if name == "dict":
        return operators.table_of(*args[:1], **kwargs)
    if name in {"map", "filter"} and len(args) == 2 and not kwargs:  # noqa: PLR2004 - function, iterable
        return _map_or_filter(machine, name, *args)
    unknown = next((each for each in args if isinstance(each, (Unknown, External))), None)
    if name == "str" and len(args) == 1 and isinstance(unknown, Unknown):
        return NamePattern(unknown.reason)
    if unknown is not None or kwargs:
        return unknown if isinstance(unknown, Unknown) else Unknown()
    return _try_call(_VALUE_FUNCTIONS.get(name), args)


def _map_or_filter(machine: Machine, name: str, function: Value, over: Value) -> Items:
    held = items_of(over)
    items = [example_of(over, UNDECIDED)] if held is None else held
    results = [each if function is None else machine.call(function, [each], {}) for each in items]
    if name == "map":
        return Items(results, exact=held is not None)
    decided = held is not None and None not in map(truth_value, results)
    chosen = [each for each, result in zip(items, results, strict=True) if truth_value(result) is not False]
    return Items(chosen, exact=decided)


def _len(value: Value) -> Value:
    if isinstance(value, Instance):
        held = items_of(value)
        return Unknown() if held is None else len(held)
    known = isinstance(value, (Items, Table, tuple, str, range)) and getattr(value, "exact", True)
    return len(value) if known else Unknown()


def _range(*args: Value) -> Value:
    sizes = all(type(each) is int and abs(each) < LARGEST_NUMBER for each in args)
    return range(*args) if sizes else Unknown()


def _list(value: Value = ()) -> Value:
    held = items_of(value)
    return Items(examples_of(value), exact=False) if held is None else Items(held)


def _zip(*columns: Value) -> Value:
    held = [items_of(column) for column in columns]
    if None in held:
        return Items([tuple(example_of(column, UNDECIDED) for column in columns)], exact=False)
    return Items(zip(*held, strict=False))


def _enumerate(value: Value, start: Value = 0) -> Value:
    held = items_of(value)
    if held is None:
        return Items([(Unknown(), example_of(value, UNDECIDED))], exact=False)
    return Items(enumerate(held, start))


def _sorted(held: list[Value]) -> Value:
    return Items(sorted(held)) if all(type(each) in {int, float, str} for each in held) else Unknown()


def _on_items(function: Callable[..., Value]) -> Callable[..., Value]:
    def of(value: Value = (), *args: Value) -> Value:
        held = items_of(value)
        return Unknown() if held is None else function(held, *args)

    return of


def _on_numbers(function: Callable[..., Value]) -> Callable[..., Value]:
    """A function of numbers, which are arguments or the items of a list."""

    def of(*args: Value) -> Value:
        held = items_of(args[0]) if len(args) == 1 else list(args)
        plain = held is not None and all(map(is_number, held))
        result = function(held) if plain else Unknown()
        return result if isinstance(result, Unknown) else bounded(result)

    return of


def _on_number(kind: Callable[[Value], Value]) -> Callable[[Value], Value]:
    def of(value: Value) -> Value:
        plain = is_number(value) or (isinstance(value, str) and len(value) < 30)  # noqa: PLR2004 - digits
        return kind(value) if plain else Unknown()

    return of


_VALUE_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "len": _len,
    "range": _range,
    "str": lambda value: str(value)[:1000] if isinstance(value, (str, int, float)) else Unknown(),
    "list": _list,
    "zip": _zip,
    "tuple": _on_items(tuple),
    "enumerate": _enumerate,
    "sorted": _on_items(_sorted),
    "reversed": _on_items(lambda held: Items(reversed(held))),
    **{kind.__name__: _on_number(kind) for kind in (int, float, bool, abs, round)},
    **{kind.__name__: _on_numbers(kind) for kind in (min, max, sum)},
}
_MATHEMATICS: Mapping[str, Callable[[float], float]] = {
    name: getattr(math, name) for name in ("sqrt", "ceil", "floor", "log2", "log")
}
