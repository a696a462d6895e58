#!/usr/bin/env bash
# get_decoder() of a classifier without any decoder returns its encoder, and get_encoder() returns the whole model.
#
# Seen with transformers 5.24.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: get_decoder() of an image or speech classifier raises or returns None, and get_encoder() returns the vision
# or speech model inside of it.
# Seen, on the meta device: for ViT, DINOv2, BEiT and Wav2Vec2 get_decoder() returns the base model, which decodes
# nothing, and get_encoder(), with the modality of the input, returns the classifier itself. SiglipForImageClassification
# answers the other way round: get_encoder() its tower, get_decoder() itself. SiglipModel, which has two encoders,
# returns its text encoder as the decoder.
# Why it matters: a tool that finds the language model by get_decoder() calls a vision tower one: "100 % language model"
# for a ViT. The accessor says "the module that holds the hidden states", not that something is decoded.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"

cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
import transformers

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__, "torch", torch.__version__)

EXPECTED = {
    ("ViTForImageClassification", "image"): ("ViTModel", "ViTForImageClassification"),
    ("Dinov2ForImageClassification", "image"): ("Dinov2Model", "Dinov2ForImageClassification"),
    ("BeitForImageClassification", "image"): ("BeitModel", "BeitForImageClassification"),
    ("SiglipForImageClassification", "image"): ("SiglipForImageClassification", "SiglipVisionModel"),
    ("Wav2Vec2ForSequenceClassification", "audio"): ("Wav2Vec2Model", "Wav2Vec2ForSequenceClassification"),
    ("SiglipModel", "image"): ("SiglipTextModel", None),
}
same = True
for (name, modality), expected in EXPECTED.items():
    kind = getattr(transformers, name)
    with torch.device("meta"):
        model = kind(kind.config_class())
    decoder = type(model.get_decoder()).__name__
    encoder = type(model.get_encoder(modality=modality)).__name__ if expected[1] else None
    print(f"{name}: get_decoder() {decoder}", f"get_encoder({modality}) {encoder}" if encoder else "", sep=", ")
    same = same and (decoder, encoder) == expected
print("as described above" if same else "CHANGED")
sys.exit(not same)
PYTHON
