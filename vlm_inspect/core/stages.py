"""Stage: one step of an embedding, a projector or a head. Part of the record of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

Size = Annotated[int, Meta(ge=0)]
Widths = tuple[int | None, int | None]


class BaseStage(Struct, frozen=True, tag_field="kind"):
    """The fields that all stages have."""

    class_name: str | None = None
    path: str = ""
    branch: int | None = None
    """Index of its branch, if parallel steps are added or concatenated."""
    parameters: int | None = None
    """Only for `Component.extra_modules`."""
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`linear`, `convolution`, `norm` …: `kind` in JSON."""
        return str(self.__struct_config__.tag)

    @property
    def input_width(self) -> int | None:
        """Width of its input; None if it takes any."""
        return self._widths()[0]

    @property
    def output_width(self) -> int | None:
        """Width of its output; None if it is that of the input, or unknown."""
        return self._widths()[1]

    def _widths(self) -> Widths:
        return None, None


class LinearStage(BaseStage, frozen=True, kw_only=True, tag="linear"):
    """A Linear, or a layer that works as one."""

    in_features: Size
    out_features: Size

    def _widths(self) -> Widths:
        return self.in_features, self.out_features


class ConvStage(BaseStage, frozen=True, kw_only=True, tag="convolution"):
    """A convolution."""

    in_channels: Size
    out_channels: Size
    kernel_size: tuple[Size, ...] = ()

    def _widths(self) -> Widths:
        return self.in_channels, self.out_channels


class NormStage(BaseStage, frozen=True, kw_only=True, tag="norm"):
    """A normalization."""

    width: Size | None = None
    eps: float | None = None

    def _widths(self) -> Widths:
        return self.width, self.width


class EmbeddingStage(BaseStage, frozen=True, kw_only=True, tag="embedding"):
    """A table of tokens or positions."""

    num_embeddings: Size | None = None
    """Number of entries."""
    embedding_dim: Size | None = None
    grid: tuple[Size, ...] = ()
    """The sides of a table of positions with several axes; their product is `num_embeddings`."""

    def _widths(self) -> Widths:
        return None, self.embedding_dim


class MlpStage(BaseStage, frozen=True, kw_only=True, tag="mlp"):
    """A feed-forward network; without a class if its projections are part of the parent module."""

    in_features: Size | None = None
    hidden_features: Size | None = None
    out_features: Size | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The known widths, in order."""
        sizes = (self.in_features, self.hidden_features, self.out_features)
        return tuple(size for size in sizes if size is not None)

    def _widths(self) -> Widths:
        return (self.sizes[0], self.sizes[-1]) if self.sizes else (None, None)


class ParameterStage(BaseStage, frozen=True, kw_only=True, tag="parameter"):
    """A parameter used directly: as a matrix, or as an addend."""

    shape: tuple[Size, ...] = ()

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies features."""
        return len(self.shape) == len(("rows", "columns"))

    def _widths(self) -> Widths:
        return (self.shape[0] if self.is_matrix else None), (self.shape[-1] if self.shape else None)


class ActivationStage(BaseStage, frozen=True, tag="activation"):
    """An activation function."""


class PoolingStage(BaseStage, frozen=True, kw_only=True, tag="pooling"):
    """A pooling."""

    kernel_size: tuple[Size, ...] = ()


class BlockStage(BaseStage, frozen=True, kw_only=True, tag="block"):
    """Layers with attention: a Q-Former, a perceiver."""

    num_layers: Size | None = None
    num_queries: Size | None = None
    """Its learned query tokens (latents of a perceiver)."""


class OtherStage(BaseStage, frozen=True, kw_only=True, tag="other"):
    """Any other module."""

    shape: tuple[Size, ...] = ()
    """Shape of its largest parameter, if it is a single module."""

    def _widths(self) -> Widths:
        return None, (self.shape[-1] if self.shape else None)


Stage = (
    LinearStage
    | ConvStage
    | NormStage
    | EmbeddingStage
    | MlpStage
    | ParameterStage
    | ActivationStage
    | PoolingStage
    | BlockStage
    | OtherStage
)
"""One step of an embedding, a projector or a head."""
