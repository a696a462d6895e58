"""One step of an embedding, a projector or a head, as cell text and by its common name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_inspect.core.architecture import Norm
from vlm_inspect.core.stages import (
    ActivationStage,
    BlockStage,
    ConvStage,
    EmbeddingStage,
    LinearStage,
    MlpStage,
    NormStage,
    OtherStage,
    ParameterStage,
    PoolingStage,
    Stage,
)
from vlm_inspect.render.cells import Cell, code, concat, text
from vlm_inspect.render.text.values import dimensions, plural, unknown

# PyTorch's own classes are written as PyTorch prints them; a model's own are identifiers
_TORCH_NORM = re.compile(r"(Layer|RMS)Norm")
_TORCH_CHANNEL_NORM = re.compile(r"(Group|(Sync)?Batch|Instance)Norm([123]d)?")
_TORCH_LAYER = re.compile(r"Linear|Embedding|Parameter|Conv(Transpose)?[123]d|(Adaptive)?(Avg|Max|LP)Pool[123]d")
_PERCEIVER = re.compile(r"(Perceiver|Resampler)")
_ACTIVATION_AFFIX = re.compile(r"^(Pytorch|New|Fast|Accurate)|Activation$|(?<=GELU)Tanh$")
_ACTIVATION_SPELLING = {"gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "relu": "ReLU", "quick": "Quick"}
_ACTIVATION_DETAILS = {"pytorch", "tanh", "new", "fast", "python"}
_KIND_NOUNS = {"mlp": "MLP", "other": "module"}

_BLOCK_NAMES = {"qformer": "Q-Former", "perceiver": "perceiver resampler", "resampler": "resampler"}


def step_cell(stage: Stage) -> Cell:
    """`Linear(1024 -> 4096)`, `` `SomeMLP` (1024 -> 4096 -> 1024) ``: the class and its sizes."""
    if isinstance(stage, ActivationStage):
        return text(activation_name(stage.class_name or ""))
    if isinstance(stage, NormStage) and stage.class_name:
        return norm_cell(Norm(stage.class_name, stage.width, stage.eps))
    sizes = _stage_sizes(stage)
    if not sizes:
        return step_class(stage)
    # `Linear(…)` for PyTorch's own class, `` `OwnLinear` (…) `` for a model's own
    gap = "" if stage.class_name and _TORCH_LAYER.fullmatch(stage.class_name) else " "
    return concat(step_class(stage), text(f"{gap}({sizes})"))


def step_class(stage: Stage) -> Cell:
    """`Linear`, or `` `SomeMLP` `` for a model's own class."""
    if not stage.class_name:
        if "class_name" in stage.unknown:
            return text(f"{_KIND_NOUNS.get(stage.kind, stage.kind)} of unknown class")
        return text("gated MLP")  # its projections are separate steps
    is_torch = _TORCH_LAYER.fullmatch(stage.class_name)
    return text(stage.class_name) if is_torch else code(stage.class_name)


def step_name(stage: Stage) -> str | None:
    """Its common name: `MLP`, `Q-Former (12 layers)`, `convolution (3 x 3)`; None if it maps nothing."""
    if isinstance(stage, MlpStage):
        return "MLP"
    if isinstance(stage, BlockStage):
        layers = f" ({plural(stage.num_layers, 'layer')})" if stage.num_layers else ""
        class_name = stage.class_name or ""
        names = (name for part, name in _BLOCK_NAMES.items() if part in class_name.lower())
        return next(names, class_name) + layers
    if isinstance(stage, ConvStage):
        kernel = f" ({dimensions(stage.kernel_size)})" if stage.kernel_size else ""
        return f"convolution{kernel}"
    if isinstance(stage, ParameterStage) and stage.is_matrix:
        return f"weight matrix ({dimensions(stage.shape)})"
    return stage.class_name or "" if isinstance(stage, OtherStage) else None


def pooling_name(stage: Stage) -> str | None:
    """`Learned queries (64 latents)`, `Average pooling (2 x 2)`; None if it pools nothing."""
    if isinstance(stage, BlockStage) and stage.num_queries:
        return f"Learned queries ({query_count(stage)})"
    if isinstance(stage, BlockStage) and "pool" in stage.path.rpartition(".")[2]:
        return "Attention pooling"
    if not isinstance(stage, PoolingStage):
        return None
    sides = stage.kernel_size * 2 if len(stage.kernel_size) == 1 else stage.kernel_size
    method = "Max" if "Max" in (stage.class_name or "") else "Average"
    return f"{method} pooling ({dimensions(sides)})" if sides else f"{method} pooling"


def norm_cell(norm: Norm) -> Cell:
    """`LayerNorm((1024,), eps=1e-05)` for PyTorch's own; a model's own class by its name."""
    if norm.class_name is None:
        width_prefix = f"width {norm.width}, " if norm.width else ""
        return concat(text(f"{width_prefix}class "), unknown(norm.unknown.get("class_name", "")))
    has_shape = _TORCH_NORM.fullmatch(norm.class_name)
    if not has_shape and not _TORCH_CHANNEL_NORM.fullmatch(norm.class_name):
        return code(norm.class_name)
    width = [] if norm.width is None else [f"({norm.width},)" if has_shape else str(norm.width)]
    eps = [] if norm.eps is None else [f"eps={norm.eps}"]
    return text(f"{norm.class_name}({', '.join(width + eps)})")


def activation_name(name: str) -> str:
    """The function's common name: `PytorchGELUTanh`, `GELUActivation` and `gelu_new` are all `GELU`."""
    if name.islower():
        parts = [part for part in name.split("_") if part not in _ACTIVATION_DETAILS] or [name]
        return "".join(_ACTIVATION_SPELLING.get(part, part.capitalize()) for part in parts)
    while (shorter := _ACTIVATION_AFFIX.sub("", name)) not in {name, ""}:
        name = shorter
    return name


def widths(values: Sequence[int | None]) -> str:
    """`1024 -> 4096 -> 1024`, with a question mark for an unknown width."""
    return " -> ".join("?" if value is None else str(value) for value in values)


def query_count(stage: BlockStage) -> str:
    """`64 latents` of a perceiver, `32 query tokens` of any other block."""
    noun = "latent" if _PERCEIVER.search(stage.class_name or "") else "query token"
    return plural(stage.num_queries or 0, noun)


def _stage_sizes(stage: Stage) -> str:  # noqa: PLR0911 - one for each kind of step
    match stage:
        case LinearStage():
            return widths((stage.in_features, stage.out_features))
        case MlpStage():
            return widths(stage.sizes)
        case NormStage():
            return "" if stage.width is None else str(stage.width)
        case ConvStage():
            return f"{stage.in_channels}, {stage.out_channels}"
        case EmbeddingStage():
            rows = () if stage.num_embeddings is None else (stage.num_embeddings,)
            return " x ".join(map(str, stage.grid or rows))
        case PoolingStage():
            sides = set(stage.kernel_size)
            return ", ".join(map(str, sides if len(sides) == 1 else stage.kernel_size))
        case BlockStage():
            layers = [plural(stage.num_layers, "layer")] if stage.num_layers else []
            return ", ".join([*layers, *([query_count(stage)] if stage.num_queries else [])])
        case ParameterStage() | OtherStage():
            return ", ".join(map(str, stage.shape))
        case _:
            return ""
