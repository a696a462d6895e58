#!/usr/bin/env bash
# A looped model's configuration counts its layers in ways that mislead what sizes a KV cache from it.
#
# Seen with transformers 5.24.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: config.num_hidden_layers is the number of layers that are built, and DynamicCache(config=config) has as
# many cache layers as the model fills.
# Seen:
#   Inkling2LoopForCausalLM runs a slice of its layers several times with one set of weights. DynamicCache(config=...)
#   has a layer per built layer; the first forward appends one per further pass. Of 8 layers, 4 of them in 3 passes,
#   the cache grows from 8 to 16 layers. DoryForCausalLM does the same (6 layers, 3 of them in 4 passes: 6 to 15).
#   HrmTextConfig(num_hidden_layers=2) reads back num_hidden_layers 16: it is rewritten to the number of passes through
#   a layer (2 layers x 2 high cycles x (3 low cycles + 1)), while the model has two stacks of 2 layers.
# Why it matters: an estimate of KV memory by num_hidden_layers or by DynamicCache(config) before the first forward is
# too small for the first two by a factor of 2 to 2.5; a count of layers by num_hidden_layers is four times too large
# for the third.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"

HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
import transformers
from transformers import DoryForCausalLM, HrmTextConfig, HrmTextForCausalLM, Inkling2LoopForCausalLM
from transformers.cache_utils import DynamicCache

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__, "torch", torch.__version__)
sizes = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def cache_layers(kind, **more):
    """Cache layers before and after one forward."""
    torch.manual_seed(0)
    model = kind(kind.config_class(**sizes, **tokens, **more)).eval()
    cache = DynamicCache(config=model.config)
    before = len(cache.layers)
    with torch.no_grad():
        model(input_ids=torch.tensor([[3, 4, 5]]), cache=cache, use_cache=True)
    return len(model.model.layers), before, len(cache.layers)


inkling = cache_layers(
    Inkling2LoopForCausalLM,
    unpadded_vocab_size=60, swa_num_attention_heads=4, swa_num_key_value_heads=2, swa_head_dim=8,
    moe_intermediate_size=16, n_routed_experts=4, num_experts_per_tok=2, num_hidden_layers=8,
    n_layers_per_attn_res_block=2, loop_layer_index_start=2, loop_layer_index_end=6, loop_num_passes=3, loop_gate_rank=4,
)  # fmt: skip
dory = cache_layers(
    DoryForCausalLM,
    intermediate_size=48, num_hidden_layers=6, n_input_layers=1, n_recurrent_layers=3, n_output_layers=2,
    n_recurrent_loops=4,
)  # fmt: skip
config = HrmTextConfig(**sizes, **tokens, intermediate_size=48, num_hidden_layers=2, H_cycles=2, L_cycles=3)
hrm = HrmTextForCausalLM(config)
built = len(hrm.model.L_module.layers) + len(hrm.model.H_module.layers)

print("Inkling2LoopForCausalLM: layers built, cache layers before and after a forward:", *inkling)
print("DoryForCausalLM: layers built, cache layers before and after a forward:", *dory)
print("HrmTextConfig(num_hidden_layers=2): num_hidden_layers reads", config.num_hidden_layers, "- layers built:", built)
seen = (inkling, dory, (config.num_hidden_layers, built)) == ((8, 8, 16), (6, 6, 15), (16, 4))
print("as described above" if seen else "CHANGED")
sys.exit(not seen)
PYTHON
