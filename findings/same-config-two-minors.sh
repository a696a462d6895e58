#!/usr/bin/env bash
# One configuration builds other parameters, and offers other attention, under transformers 5.23.0 and 5.24.0.
#
# Seen with transformers 5.23.0 and 5.24.0, torch 2.13.0, Python 3.11, CPU (meta device, no weights).
#
# Expected: a minor release builds the same parameters from the same configuration.
# Seen:
#   Inkling2: the LM head has vocab_size rows (201024) in 5.23.0 and unpadded_vocab_size rows (200058) in 5.24.0 (its
#   docstring: padded rows of a checkpoint are dropped on load); the model has 4,451,328 parameters fewer.
#   Mistral Large 4: rotary_emb.alpha is a buffer in 5.23.0 and a trainable parameter in 5.24.0; the model has 32
#   parameters more, which optimizers, num_parameters() and adapters that train "all" now see.
#   Gemma 3 and PaliGemma with images: _supports_flash_attn is True in 5.23.0 and False in 5.24.0 (the comment in the
#   source: "Flash Attention drops the bidirectional mask over image tokens"). The mask itself was not tested here.
# Why it matters: parameter counts, snapshots of shapes and optimizer states are not comparable across the two, and a
# script that requests flash attention for Gemma 3 was accepted until 5.23.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
cat > "$work/look.py" <<'PYTHON'
import sys

import torch
import transformers
from transformers import (
    Gemma3ForConditionalGeneration,
    Inkling2ForConditionalGeneration,
    MistralLarge4ForConditionalGeneration,
    PaliGemmaForConditionalGeneration,
)

transformers.logging.set_verbosity_error()


def build(kind):
    with torch.device("meta"):
        return kind._from_config(kind.config_class())


inkling, mistral = build(Inkling2ForConditionalGeneration), build(MistralLarge4ForConditionalGeneration)
alpha = [name for name, _ in mistral.named_parameters() if name.endswith("rotary_emb.alpha")]
flash = [kind._supports_flash_attn for kind in (Gemma3ForConditionalGeneration, PaliGemmaForConditionalGeneration)]
print("transformers", transformers.__version__, "torch", torch.__version__)
print("  Inkling2: LM head", tuple(inkling.lm_head.weight.shape), f"{inkling.num_parameters():,} parameters")
print("  Mistral Large 4: parameters named alpha", alpha, f"{mistral.num_parameters():,} parameters")
print("  flash attention of Gemma 3 and PaliGemma:", flash)
found = (inkling.lm_head.weight.shape[0], len(alpha), flash)
sys.exit(found != ((201024, 0, [True, True]) if sys.argv[1] == "5.23.0" else (200058, 1, [False, False])))
PYTHON
"$work/venv/bin/pip" install --quiet "torch==2.13.0" "transformers==5.23.0" "numpy==2.4.6"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore "$work/look.py" 5.23.0
"$work/venv/bin/pip" install --quiet "transformers==5.24.0"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore "$work/look.py" 5.24.0
echo "as described above"
