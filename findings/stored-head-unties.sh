#!/usr/bin/env bash
# One config.json, three numbers of parameters: the values in the checkpoint decide whether the head is tied.
#
# Seen with transformers 5.24.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: a class that ties the head to the embedding by default always does, whatever the checkpoint holds, and
# config.tie_word_embeddings says what happened.
# Seen, for a small Mistral3ForConditionalGeneration whose config.json says nothing of ties:
#   checkpoint without a head:                  tied
#   checkpoint with a head equal to the table:  tied, one parameter
#   checkpoint with a head of other values:     not tied, 2,048 parameters more, and the loading information is empty
# In all three the loaded configuration says tie_word_embeddings True, at the top, and a model that was saved and loaded
# again stays untied. So neither config.json nor the names of the tensors tell the number of parameters: only a
# comparison of values does.
# Why it matters: released files of models with such a class hold a head of their own (Mistral-Small-3.1 has 671 million
# parameters more than its class by default), and a count from config.json alone leaves them out.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"

cd "$work"
HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
print("transformers", transformers.__version__, "torch", torch.__version__)

sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
text = {"model_type": "mistral", **sizes, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 64}
vision = {"model_type": "pixtral", **sizes, "image_size": 28, "patch_size": 14}
torch.manual_seed(0)
model = Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision))


def is_tied(model):
    return model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def without_ties(config):
    return {
        key: without_ties(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "tie_word_embeddings"
    }


def loaded(folder, head):
    """Whether the head is tied, what config.json says after loading, the parameters, and whether it stays so."""
    model.save_pretrained(folder)
    config = Path(folder, "config.json")
    config.write_text(json.dumps(without_ties(json.loads(config.read_text()))))
    file = f"{folder}/model.safetensors"
    tensors = load_file(file)
    (table,) = (name for name in tensors if name.endswith("embed_tokens.weight"))
    if head != "absent":
        name = table.replace("model.embed_tokens", "lm_head")
        tensors[name] = tensors[table].clone() + (head == "different")
    save_file(tensors, file, metadata={"format": "pt"})
    found, information = Mistral3ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    found.save_pretrained(f"{folder}-again")
    again = Mistral3ForConditionalGeneration.from_pretrained(f"{folder}-again")
    quiet = not any(information.values())
    return is_tied(found), found.config.tie_word_embeddings, found.num_parameters(), is_tied(again), quiet


seen = {head: loaded(head, head) for head in ("absent", "equal", "different")}
for head, (tied, stated, parameters, still, quiet) in seen.items():
    print(
        f"head {head}: tied {tied}, config says {stated}, {parameters:,} parameters, tied when saved and loaded again "
        f"{still}, loading information empty {quiet}"
    )
more = seen["different"][2] - seen["absent"][2]
expected = {"absent": (True, True, True, True), "equal": (True, True, True, True), "different": (False, True, False, True)}
same = {head: (tied, stated, still, quiet) for head, (tied, stated, _, still, quiet) in seen.items()} == expected
print("as described above" if same and more == 64 * 32 else "CHANGED")
sys.exit(not (same and more == 64 * 32))
PYTHON
