"""torch's own modules: what their constructors take, and which of them hold parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlm_inspect.build.source.values import Foreign, Instance, Items, Unknown, Value

_NO_PARAMETERS = frozenset(
    {
        *(
            "GELU",
            "SiLU",
            "ReLU",
            "ReLU6",
            "LeakyReLU",
            "Tanh",
            "Sigmoid",
            "Mish",
            "Hardswish",
            "Softmax",
            "GLU",
        ),
        *("LogSoftmax", "Softplus", "ELU", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "Identity"),
        *("Flatten", "Unflatten", "PixelShuffle", "PixelUnshuffle", "Upsample", "AvgPool1d", "AvgPool2d"),
        *("AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d"),
        *("AdaptiveMaxPool2d", "ZeroPad2d", "CrossEntropyLoss", "MSELoss", "Fold", "Unfold"),
    }
)
_CONVOLUTION = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
)
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features", "bias"),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine", "bias"),
    "RMSNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "GroupNorm": ("num_groups", "num_channels", "eps", "affine"),
    **dict.fromkeys(
        ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"),
        ("num_features", "eps", "momentum", "affine"),
    ),
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), _CONVOLUTION),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), _CONVOLUTION),
    "MultiheadAttention": ("embed_dim", "num_heads", "dropout", "bias"),
    "GELU": ("approximate",),
    "Dropout": ("p", "inplace"),
    "PReLU": ("num_parameters",),
    **dict.fromkeys(
        ("AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool2d"), ("kernel_size", "stride", "padding")
    ),
}
_DEFAULTS: Mapping[str, Mapping[str, Value]] = {
    "LayerNorm": {"eps": 1e-05, "elementwise_affine": True},
    "GroupNorm": {"eps": 1e-05},
    "GELU": {"approximate": "none"},
    "Dropout": {"p": 0.5, "inplace": False},
}
_HOLDING = frozenset({"ModuleList", "Sequential", "ModuleDict", "ParameterList", "ParameterDict"})


def is_torch_module(what: Foreign) -> bool:
    """Whether it is a module of torch: one of `torch.nn`'s that begins with a capital."""
    return (
        what.path.startswith("torch.nn.")
        and what.name[:1].isupper()
        and what.name not in {"Parameter", "Buffer"}
    )


def holds_no_parameters(name: str) -> bool:
    """Whether torch's module of that name can have no parameters."""
    return name in _NO_PARAMETERS


def make(what: Foreign, args: Sequence[Value], named: Mapping[str, Value]) -> Instance:
    """What torch's constructor would set, as far as it is known."""
    made = Instance(what, is_module=True)
    fill(made, what, args, named)
    return made


def fill(instance: Instance, what: Foreign, args: Sequence[Value], named: Mapping[str, Value]) -> None:
    """Set on an instance what the constructor of torch's class would."""
    if what.name in _HOLDING:
        _hold(instance, what.name, args)
        return
    names = SIGNATURES.get(what.name, ())
    given = {**_DEFAULTS.get(what.name, {}), **dict(zip(names, args, strict=False)), **named}
    for name, value in given.items():
        if name not in {"bias", "device", "dtype"}:
            instance.attributes[name] = (
                (value,) if name == "normalized_shape" and isinstance(value, int) else value
            )


def _hold(instance: Instance, name: str, args: Sequence[Value]) -> None:
    """The children of a list, a sequence or a table of modules, by number or key; `*` for any of them."""
    held = args[0] if len(args) == 1 and isinstance(args[0], (Items, tuple, dict)) else Items(args)
    if len(args) == 1 and isinstance(args[0], Unknown):
        instance.open_reason = args[0].reason
    elif isinstance(held, dict):
        instance.attributes.update({str(key): value for key, value in held.items()})
    elif name == "ParameterList":
        return
    elif isinstance(held, Items) and not held.exact:
        instance.attributes.update(dict.fromkeys("*", held[0]) if held else {})
    else:
        instance.attributes.update({str(index): item for index, item in enumerate(held)})
