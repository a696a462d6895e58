"""The shapes that a LoRA's tensors must have on a module of given shape, as PEFT makes them."""

from __future__ import annotations

from vlm_inspect.tree import ModuleNode, Shape

_MATRIX, _EXPERTS = 2, 3


def lora_shape(part: str, node: ModuleNode, rank: int, stored: Shape) -> Shape | None:
    """What a tensor's shape must be; None where it cannot be told, or any of several would do.

    A maps the module's input to the rank, B the rank to its output.
    """
    weight = node.shape("weight")
    if weight is None:
        return _on_experts(part, node, stored)
    size_out, size_in, kernel = _sizes(node, weight)
    ones = (1,) * len(kernel)
    if node.class_name.endswith("Embedding"):
        size_in, size_out = weight[0], weight[1]
    return {
        "lora_A": (rank, size_in, *kernel),
        "lora_B": (size_out, rank, *ones),
        "lora_embedding_A": (rank, size_in),
        "lora_embedding_B": (size_out, rank),
        "lora_B.bias": (size_out,),
        "lora_magnitude_vector": (1, size_out, *ones) if kernel else (size_out,),
    }.get(part)


def rank_of(part: str, stored: Shape) -> int | None:
    """The rank that a tensor's shape tells."""
    if part in {"lora_A", "lora_embedding_A"} and stored:
        return stored[0]
    return stored[1] if part in {"lora_B", "lora_embedding_B"} and len(stored) >= _MATRIX else None


def _sizes(node: ModuleNode, weight: Shape) -> tuple[int, int, Shape]:
    """Output, input, kernel. GPT-2's Conv1D has its weight the other way round."""
    if len(weight) < _MATRIX:
        return weight[0], weight[0], ()
    size_out, size_in = (weight[1], weight[0]) if node.class_name == "Conv1D" else weight[:2]
    return size_out, size_in, weight[2:]


def _on_experts(part: str, node: ModuleNode, stored: Shape) -> Shape | None:
    """On fused experts [experts, a, b] the ranks of all experts lie one after the other."""
    fused = [shape for _, shape in node.parameters if len(shape) == _EXPERTS]
    for count, *sides in fused:
        for side in sides:
            if part == "lora_A" and len(stored) == _MATRIX and stored[0] % count == 0 and stored[1] == side:
                return stored
            if part == "lora_B" and len(stored) == _MATRIX and stored[1] % count == 0 and stored[0] == side:
                return stored
    return fused[0] if fused else None
