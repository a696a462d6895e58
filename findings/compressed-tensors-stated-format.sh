#!/usr/bin/env bash
# compressed-tensors 0.20.1, torch 2.13.0: the `format` of a QuantizationConfig does not decide how weights are stored.
#
# Behaviour: with format="int-quantized" and int8 weights without input activations, ModelCompressor.compress_model
# stores `weight_packed` (int32, four values in each), which is the layout of pack-quantized. With int8 input
# activations, the same format stores a plain int8 `weight`. In both cases the config still says int-quantized.
#
# Why it matters to users: a reader that chooses how to unpack by `format` in config.json finds no `weight`, or counts a
# quarter of the parameters. The names and dtypes of the tensors decide, not the configuration.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 compressed-tensors==0.20.1
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import importlib.metadata as metadata

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    apply_quantization_config,
)

INT8 = QuantizationArgs(num_bits=8, type="int", strategy="token", dynamic=True, symmetric=True)
EXPECTED = {"weights alone": ("weight_packed", "torch.int32"), "weights and inputs": ("weight", "torch.int8")}


def stored(activations):
    """The format that the config says afterwards, and the tensor that holds the weight."""
    model = torch.nn.Sequential(torch.nn.Linear(256, 384, bias=False)).to(torch.bfloat16)
    weights = QuantizationArgs(num_bits=8, type="int", strategy="channel")
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, input_activations=activations)
    config = QuantizationConfig(config_groups={"group_0": scheme}, format="int-quantized")
    apply_quantization_config(model, config)
    for name, parameter in model.named_parameters():
        if "scale" in name:
            parameter.data.fill_(1)
    compressor = ModelCompressor(quantization_config=config)
    compressor.compress_model(model)
    held = {name.removeprefix("0."): str(tensor.dtype) for name, tensor in model.state_dict().items()}
    main = next(name for name in ("weight_packed", "weight") if name in held)
    return compressor.quantization_config.format, (main, held[main])


print("compressed-tensors", metadata.version("compressed-tensors"), "torch", torch.__version__)
found = {"weights alone": stored(None), "weights and inputs": stored(INT8)}
for case, (stated, tensor) in found.items():
    print(f"{case}: config says {stated}, stored as {tensor[0]} of {tensor[1]}")
raise SystemExit({case: tensor for case, (_, tensor) in found.items()} != EXPECTED)
PYTHON
