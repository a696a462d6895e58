"""Vision encoders by their common names: `CLIP ViT-L/14-336`.

The size letter depends only on the published sizes, never on a model's name: Ti to H from Dosovitskiy et al.
2021 (and Touvron et al. 2021), g, G and e from Zhai et al. 2022 and Chen et al. 2023, SO400M from
Alabdulmohsin et al. 2023.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

from vlm_inspect.core.architecture import Component
from vlm_inspect.core.stages import ConvStage

PUBLISHED_SIZES: Mapping[tuple[int, int, int], str] = {
    (192, 12, 768): "Ti",
    (384, 12, 1536): "S",
    (768, 12, 3072): "B",
    (1024, 24, 4096): "L",
    (1152, 27, 4304): "SO400M",
    (1280, 32, 5120): "H",
    (1408, 40, 6144): "g",
    (1664, 48, 8192): "G",
    (1792, 56, 15360): "e",
}
"""(width, layers, MLP width) → size. All three count: Qwen2.5-VL's encoder has ViT-H's width and depth."""

_CLASS_SUFFIX = re.compile(
    r"(VisionTransformer|VisionModel|VisionTower|Vision|Transformer|Encoder|PreTrainedModel|PretrainedModel"
    r"|Backbone|Model|ViT)$"
)
_SPELLING = (
    (re.compile(r"^Siglip"), "SigLIP"),
    (re.compile(r"^Clip"), "CLIP"),
    (re.compile(r"^TimmWrapper"), "timm"),
    (re.compile(r"(?<=\d)_(?=\d)"), "."),
)


class VisionTransformer(Struct, frozen=True):
    """The properties that a vision encoder's name consists of."""

    family: str | None
    depths: tuple[int, ...]
    """Number of layers of each stack."""
    width: int | None = None
    widest: int | None = None
    """Last width of a hierarchical encoder, whose stages grow wider."""
    mlp_width: int | None = None
    gated: bool | None = None
    patch: int | None = None
    image: tuple[int, ...] = ()
    attends: bool = True
    """Whether every layer has softmax attention: else it is no transformer."""

    @classmethod
    def of(cls, component: Component) -> VisionTransformer:
        """Read the properties of a component."""
        widths = layer_widths(component)
        mlp = next((layer.mlp for layer in component.layers if layer.mlp), None)
        attends = all(
            layer.attention is not None and layer.attention.mechanism == "attention" for layer in component.layers
        )
        return cls(
            family=family(component.class_name) if component.class_name else None,
            depths=tuple(stack.count for stack in component.stacks),
            width=widths[0] if len(widths) > 1 else component.width,
            widest=max(widths) if len(widths) > 1 else None,
            mlp_width=mlp.hidden_width if mlp else None,
            gated=mlp.gated if mlp else None,
            patch=_patch(component) if attends else None,
            image=component.image.size if component.image else (),
            attends=attends,
        )

    @property
    def size(self) -> str | None:
        """The published size letter, if there is one."""
        if self.gated or not self.attends or len(self.depths) != 1:
            return None
        if self.width is None or self.mlp_width is None:
            return None
        return PUBLISHED_SIZES.get((self.width, self.depths[0], self.mlp_width))

    def __str__(self) -> str:
        """`SigLIP ViT-SO400M/14-384`, or `Qwen2.5 ViT (32 layers, width 1280, patch 14)`."""
        if self.size is None:
            figures = ", ".join(self._figures())
            is_plain = self.attends and not (self.family and self.widest)
            kind = "ViT" if is_plain and self.family != "ViT" else ""
            return " ".join(part for part in (self.family, kind, f"({figures})" if figures else "") if part)
        prefix = f"{self.family} " if self.family and self.family != "ViT" else ""
        patch = f"/{self.patch}" if self.patch else ""
        image = f"-{'x'.join(str(side) for side in dict.fromkeys(self.image))}" if self.image else ""
        return f"{prefix}ViT-{self.size}{patch}{image}"

    def _figures(self) -> Iterator[str]:
        if self.depths:
            depths = " + ".join(map(str, self.depths))
            yield f"{depths} layer{'' if depths == '1' else 's'}"
        if self.width:
            yield f"width {self.width} to {self.widest}" if self.widest else f"width {self.width}"
        if self.patch:
            yield f"patch {self.patch}"


def layer_widths(component: Component) -> tuple[int, ...]:
    """The different input widths of the MLPs of a component's layers."""
    widths = (layer.mlp.input_width for layer in component.layers if layer.mlp)
    return tuple(dict.fromkeys(width for width in widths if width))


def family(class_name: str) -> str:
    """`CLIPVisionModel` → `CLIP`, `Qwen2_5_VisionTransformerPretrainedModel` → `Qwen2.5`."""
    name = class_name
    while (shorter := _CLASS_SUFFIX.sub("", name).rstrip("_")) not in {name, ""}:
        name = shorter
    for pattern, replacement in _SPELLING:
        name = pattern.sub(replacement, name)
    return name


def _patch(component: Component) -> int | None:
    """The kernel size of the patch embedding; None for a stem of several convolutions."""
    kernels = [stage.kernel_size for stage in component.embeddings if isinstance(stage, ConvStage)]
    return kernels[0][-1] if len(kernels) == 1 and kernels[0] else None
