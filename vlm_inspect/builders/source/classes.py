"""Bases, attributes and constructors of classes, including torch modules and configurations."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from vlm_inspect.builders.source.evaluate import INSTANTIATING
from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.machine import Machine
from vlm_inspect.builders.source.operators import examples_of, items_of, table_of
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import (
    ANY_INDEX,
    ANY_NAME,
    CONDITIONAL,
    UNDECIDED,
    Bound,
    Choice,
    ClassRef,
    External,
    Frame,
    FunctionRef,
    Instance,
    Items,
    Kwargs,
    Spread,
    Super,
    Table,
    Unknown,
    Value,
    Values,
    several,
    word_set,
)

MODULE_METHODS = word_set("add_module register_module append extend insert update register_buffer")
IGNORED_METHODS = word_set(
    "register_parameter post_init init_weights apply eval train requires_grad_ half float to cuda "
    "bfloat16 tie_weights __init__ register_forward_hook "
    "gradient_checkpointing_enable gradient_checkpointing_disable"
)
"""Methods that add no modules."""
_MODEL_MAKERS = {"from_config", "_from_config", "from_pretrained", "from_dict"}
_METHODS = {
    Items: word_set("append extend insert copy index pop remove reverse sort clear"),
    Table: word_set("get items keys values update pop copy setdefault"),
    str: word_set("lower upper startswith endswith split replace strip format"),
}
_CONFIG_BASES = {f"{PACKAGE}.PretrainedConfig", f"{PACKAGE}.PreTrainedConfig"}
_FIELD_BASES = word_set("NamedTuple BaseModel ModelOutput TypedDict")
_PLAIN_BASES = ("torch.nn.", "abc.", "typing.", "collections.", "enum.", "dataclasses.", f"{PACKAGE}.")

# --- bases -------------------------------------------------------------------------------------------


def bases_of(machine: Machine, what: ClassRef) -> list[Value]:
    """A class and its bases, in the order of attribute lookup."""
    key = id(what.node)
    if key not in machine.bases:
        machine.bases[key] = [what, Unknown("its bases go in a circle")]
        line: list[Value] = [what]
        for base in what.node.bases:
            at = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
            found = machine.evaluate(at, Frame(what.scope))
            line += bases_of(machine, found) if isinstance(found, ClassRef) else [found]
        unique: list[Value] = []
        for each in reversed(line):  # a shared base comes after all classes that share it
            if not any(_same(each, other) for other in unique):
                unique.insert(0, each)
        machine.bases[key] = unique
    return machine.bases[key]


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, ClassRef) and isinstance(other, ClassRef):
        return one.node is other.node
    return isinstance(one, External) and bool(one == other)


def _incomplete_reason(bases: Values) -> str:
    """Why an instance may have more attributes: a base that is not read."""
    for each in bases:
        if isinstance(each, External) and not each.path.startswith((*_PLAIN_BASES, "builtins.object")):
            return f"its base {each.path} is not read"
        if isinstance(each, (Unknown, Choice)):
            return each.reason if isinstance(each, Unknown) else "its base is one of several"
    return ""


def is_config(bases: Values) -> bool:
    """Whether a class is a configuration of transformers."""
    return any(isinstance(each, External) and each.path in _CONFIG_BASES for each in bases)


def _find_method(bases: Values, name: str) -> FunctionRef | None:
    for base in bases:
        for each in base.node.body if isinstance(base, ClassRef) else ():
            if isinstance(each, ast.FunctionDef) and each.name == name:
                return FunctionRef(each, base.scope, owner=base)
    return None


def attribute(machine: Machine, value: Value, name: str) -> Value:  # noqa: PLR0911 - one line for each kind
    """The value of `value.name`."""
    if isinstance(value, Instance):
        return _instance_attribute(machine, value, name)
    if isinstance(value, ClassRef):
        bases = bases_of(machine, value)
        own = _find_method(bases, name)
        if name in _MODEL_MAKERS and (own is None or own.scope.name.startswith(PACKAGE)):
            return Bound(name, value)
        if name == "__name__":
            return value.name
        found = _class_attribute(machine, bases, name, None)
        return Unknown(f"{name} of {value.name} is not found in its source") if found is None else found
    if isinstance(value, Super):
        return _super_attribute(machine, value, name)
    if isinstance(value, External):
        return External(f"{value.path}.{name}")
    if isinstance(value, Scope):
        return machine.name(value, name)
    if isinstance(value, Table) and name in value:  # a sub-configuration whose class is not read
        return value[name]
    if any(isinstance(value, kind) and name in methods for kind, methods in _METHODS.items()):
        return Bound(name, value)
    return value if isinstance(value, Unknown) else Unknown(f"{name} is not found in the source")


def _instance_attribute(machine: Machine, instance: Instance, name: str) -> Value:
    if name in instance.attributes:
        return instance.attributes[name]
    if name == "_modules" and instance.is_module:
        return instance
    if isinstance(instance.made_by, ClassRef):
        bases = bases_of(machine, instance.made_by)
        found = _class_attribute(machine, bases, name, instance)
        if found is not None:
            return found
        renamed = _class_attribute(machine, bases, "attribute_map", instance)
        other = renamed.get(name) if isinstance(renamed, Table) else None
        if isinstance(other, str) and other != name:
            return machine.attribute(instance, other)
    if instance.is_module and name in MODULE_METHODS | IGNORED_METHODS:
        return Bound(name, instance)
    return Unknown(f"{name} of {instance.class_name} is not found in the source", of=instance)


def _super_attribute(machine: Machine, value: Super, name: str) -> Value:
    made_by = value.instance.made_by
    bases = bases_of(machine, made_by) if isinstance(made_by, ClassRef) else []
    place = next((i for i, each in enumerate(bases) if _same(each, value.owner)), -1)
    after = bases[place + 1 :]
    if name == "__init__":
        return Bound(Items(after), value.instance)
    found = _class_attribute(machine, after, name, value.instance)
    if found is None and name in MODULE_METHODS | IGNORED_METHODS:
        return Bound(name, value.instance)
    return Unknown(f"{name} of a base is not found in the source") if found is None else found


def _class_attribute(machine: Machine, bases: Values, name: str, instance: Instance | None) -> Value | None:
    for owner in bases:
        for statement in reversed(owner.node.body) if isinstance(owner, ClassRef) else ():
            if isinstance(statement, ast.FunctionDef) and statement.name == name:
                return _method(machine, owner, statement, instance)
            if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return machine.evaluate(statement.value, Frame(owner.scope, owner=owner))
    return None


def _method(machine: Machine, owner: ClassRef, node: ast.FunctionDef, instance: Instance | None) -> Value:
    function = FunctionRef(node, owner.scope, owner=owner)
    decorators = {each.id for each in node.decorator_list if isinstance(each, ast.Name)}
    if "classmethod" in decorators:
        return Bound(function, owner)
    if instance is None or "staticmethod" in decorators:
        return function
    if decorators & {"property", "cached_property"}:
        return machine.call(function, [instance], {})
    return Bound(function, instance)


def instantiate(machine: Machine, what: ClassRef, args: Values, kwargs: Kwargs) -> Value:
    """Create an instance of a class by its constructor."""
    bases = bases_of(machine, what)
    made = Instance(what)
    machine.created(made.attributes)
    if not is_config(bases):
        roots = ("torch.nn.", f"{PACKAGE}.PreTrainedModel")
        made.is_module = any(isinstance(base, External) and base.path.startswith(roots) for base in bases)
        made.incomplete_reason = _incomplete_reason(bases)
    if what.name == "ClassInstantier" and args:
        made.attributes[INSTANTIATING] = args[0]
    else:
        construct(machine, made, bases, args, kwargs)
    return made


def construct(machine: Machine, made: Instance, bases: Values, args: Values, kwargs: Kwargs) -> None:
    """Run the first constructor of these bases; those of torch and transformers are built in."""
    if is_config(bases):
        _construct_config(machine, made, bases, args, kwargs)
        return
    if not made.is_module and not _find_method(bases, "__init__") and _has_fields(bases):
        _set_fields(machine, made, bases, args, kwargs)
        return
    for base in bases:
        if init := _find_method([base], "__init__"):
            run_function(machine, init, [made, *args], kwargs)
            return
        if isinstance(base, External) and base.path == f"{PACKAGE}.PreTrainedModel":
            machine.set(made.attributes, "config", args[0] if args else kwargs.get("config", Unknown()))
            return
        if isinstance(base, External) and is_torch_module(base) and base.name != "Module":
            set_torch_attributes(made, base, args, kwargs)
            return


def run_function(machine: Machine, function: FunctionRef, args: Values, kwargs: Kwargs) -> Value:
    """Run a function, and return its result."""
    bound = _arguments(machine, function, args, kwargs)
    frame = Frame(function.scope, bound, function.closure, function.owner, args[0] if args else None)
    if isinstance(function.node, ast.Lambda):
        return machine.evaluate(function.node.body, frame)
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in ast.walk(function.node)):
        return Unknown()
    flow = machine.run(function.node.body, frame)
    if flow is not None and flow.kind == "raise" and not frame.returns:
        return Unknown("it raises an error, as far as the source decides")
    last = [flow.value] if flow is not None and flow.kind == "return" else []
    last = last if last or (flow is not None and flow.kind == "raise") else [None]
    return Choice.of([*frame.returns, *last], CONDITIONAL)


def _arguments(machine: Machine, function: FunctionRef, args: Values, kwargs: Kwargs) -> dict[str, Value]:
    signature = function.node.args
    places = [*signature.posonlyargs, *signature.args]
    required = [None] * (len(places) - len(signature.defaults))
    defaults = [*required, *signature.defaults, *signature.kw_defaults]
    around = Frame(function.scope, closure=function.closure)
    certain = next((index for index, each in enumerate(args) if isinstance(each, Spread)), len(args))
    undecided = certain < min(len(args), len(places)) or ANY_NAME in kwargs
    bound: dict[str, Value] = {}
    for place, default in zip([*places, *signature.kwonlyargs], defaults, strict=True):
        missing = Unknown(UNDECIDED if undecided else f"{place.arg} is not given")
        bound[place.arg] = missing if default is None or undecided else machine.evaluate(default, around)
    rest = Table({name: value for name, value in kwargs.items() if name not in bound}, exact=ANY_NAME not in kwargs)
    bound.update(zip((place.arg for place in places), args[:certain], strict=False))
    bound.update({name: value for name, value in kwargs.items() if name not in rest})
    if signature.vararg:
        bound[signature.vararg.arg] = tuple(args[min(certain, len(places)) :])
    if signature.kwarg:
        bound[signature.kwarg.arg] = rest
    return bound


_BASE_DEFAULTS: Mapping[str, Value] = {
    "use_return_dict": True,
    "chunk_size_feed_forward": 0,
    **dict.fromkeys(("is_decoder", "add_cross_attention", "is_encoder_decoder"), False),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "torchscript"), False),
}


def _construct_config(machine: Machine, made: Instance, bases: Values, args: Values, kwargs: Kwargs) -> None:
    """Run the constructor and set the remaining arguments, or set the fields of a dataclass."""
    if init := _find_method(bases, "__init__"):
        machine.call(Bound(init, made), args, kwargs)
        for name, value in kwargs.items():
            if isinstance(made.attributes.get(name, Unknown()), Unknown):
                machine.set(made.attributes, name, value)
        return
    _set_fields(machine, made, bases, args, {**_BASE_DEFAULTS, **kwargs})


def _set_fields(machine: Machine, made: Instance, bases: Values, args: Values, kwargs: Kwargs) -> None:
    """Set the fields of a dataclass or a named tuple."""
    undecided = ANY_NAME in kwargs or any(isinstance(each, Spread) for each in args)
    fields: dict[str, Value] = {}
    for base in reversed(bases):
        for each in base.node.body if isinstance(base, ClassRef) else ():
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                default = None if undecided else each.value
                fields[each.target.id] = machine.evaluate(default, Frame(base.scope)) if default else Unknown()
    given = zip(fields, args, strict=False)
    for name, value in {**fields, **dict(given), **kwargs}.items():
        machine.set(made.attributes, name, value)
    if after := _find_method(bases, "__post_init__"):
        machine.call(Bound(after, made), [], {})


def _has_fields(bases: Values) -> bool:
    """Whether the constructor of a class sets its fields: of a dataclass, a named tuple, a pydantic model."""
    if any(isinstance(base, External) and base.name in _FIELD_BASES for base in bases):
        return True
    classes = [base for base in bases if isinstance(base, ClassRef)]
    for decorator in (each for base in classes for each in base.node.decorator_list):
        at = decorator.func if isinstance(decorator, ast.Call) else decorator
        if (at.attr if isinstance(at, ast.Attribute) else getattr(at, "id", "")) == "dataclass":
            return True
    return False


NO_PARAMETERS = word_set(
    "GELU SiLU ReLU ReLU6 LeakyReLU Tanh Sigmoid Mish Hardswish Softmax GLU LogSoftmax Softplus ELU "
    "Dropout Dropout1d Dropout2d AlphaDropout Identity Flatten Unflatten PixelShuffle PixelUnshuffle "
    "Upsample AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d AdaptiveAvgPool1d "
    "AdaptiveAvgPool2d AdaptiveMaxPool2d ZeroPad2d CrossEntropyLoss MSELoss Fold Unfold"
)
"""Torch's modules without parameters."""
_CONVOLUTION = "in_channels out_channels kernel_size stride padding dilation groups bias"
_POOL = "kernel_size stride padding"
_SIGNATURES: Mapping[str, str] = {
    "Linear": "in_features out_features bias",
    "Embedding": "num_embeddings embedding_dim padding_idx",
    "LayerNorm": "normalized_shape eps elementwise_affine bias",
    "RMSNorm": "normalized_shape eps elementwise_affine",
    "GroupNorm": "num_groups num_channels eps affine",
    **{f"BatchNorm{n}d": "num_features eps momentum affine" for n in (1, 2, 3)},
    "SyncBatchNorm": "num_features eps momentum affine",
    **{f"{kind}{n}d": _CONVOLUTION for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    "MultiheadAttention": "embed_dim num_heads dropout bias",
    "GELU": "approximate",
    "Dropout": "p inplace",
    "PReLU": "num_parameters",
    **dict.fromkeys(("AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool2d"), _POOL),
}
_DEFAULTS: Mapping[str, Mapping[str, Value]] = {
    "LayerNorm": {"eps": 1e-05, "elementwise_affine": True},
    "GroupNorm": {"eps": 1e-05},
    "GELU": {"approximate": "none"},
    "Dropout": {"p": 0.5, "inplace": False},
}
_CONTAINERS = {"ModuleList", "Sequential", "ModuleDict", "ParameterList", "ParameterDict"}


def is_torch_module(what: External) -> bool:
    """Whether it is one of torch's module classes."""
    is_class = what.name[:1].isupper() and what.name not in {"Parameter", "Buffer"}
    return what.path.startswith("torch.nn.") and is_class


def set_torch_attributes(made: Instance, what: External, args: Values, kwargs: Kwargs) -> None:
    """Set the attributes that the constructor of a torch module sets."""
    if what.name in _CONTAINERS:
        content = args or tuple(kwargs.values())[:1]
        _set_children(made, what.name, [table_of(*content)] if what.name == "ModuleDict" and content else content)
        return
    if what.name.startswith(("MultiheadAttention", "Transformer")):
        made.incomplete_reason = f"the modules of torch's {what.name} are not read"
    names = _SIGNATURES.get(what.name, "").split()
    given = {**_DEFAULTS.get(what.name, {}), **dict(zip(names, args, strict=False)), **kwargs}
    for name, value in given.items():
        if name not in {"bias", "device", "dtype"}:
            whole = name == "normalized_shape" and isinstance(value, int)
            made.attributes[name] = (value,) if whole else value


def _set_children(made: Instance, name: str, args: Values) -> None:
    """Set the children of a container by number or key, or `*` for any child if their number is unknown."""
    content = args[0] if len(args) == 1 and not isinstance(args[0], Instance) else Items(args)
    held = items_of(content)
    if isinstance(content, Table):
        made.attributes.update({str(key): value for key, value in content.items()})
    elif name == "ParameterList":
        return
    elif held is not None:
        made.attributes.update({str(index): each for index, each in enumerate(held)})
    elif examples := examples_of(content):
        made.attributes[ANY_INDEX] = several(examples)
    else:
        made.incomplete_reason = getattr(content, "reason", UNDECIDED)
