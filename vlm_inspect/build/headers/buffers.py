"""Which tensors of a checkpoint are no parameters: buffers and counters, which are not learned."""

from __future__ import annotations

import re

# as torch and transformers' models name them
_BUFFERS = re.compile(
    r"^(running_mean|running_var|num_batches_tracked|(\w+_)?inv_freq|position_ids|token_type_ids|masked_bias"
    r"|relative_position_index|relative_coords_table|relative_position_bucket|attn_mask|attention_mask|causal_mask"
    r"|cos_cached|sin_cached|freqs_cis|e_score_correction_bias|\w*_cached|mask_token_id|feature_buffer"
    r"|layer_scalar|global_mean|global_invstd|cluster_usage|embed_sum|initialized|pos_idx_to_embed"
    r"|mean|std|image_mean|image_std|embed_scale|std_bias|std_scale|pe|positional_embeddings_buffer"
    r"|(input|output)_(min|max))$"
)
# what is counted or switched is not learned
_NOT_LEARNED = frozenset({"BOOL", "I64", "U64", "I16", "U16"})


def is_buffer(name: str, dtype: str) -> bool:
    """Whether a tensor is a persistent buffer, by the name that modules give theirs or by its dtype."""
    return dtype in _NOT_LEARNED or bool(_BUFFERS.search(name.rpartition(".")[2]))
