"""The floor of building: import the libraries and build each class on meta; skip what cannot be built."""

import json
import logging
import sys
import warnings
from pathlib import Path

import accelerate
import torch  # noqa: F401 - part of what it costs
import transformers

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
for folder in sys.argv[1:]:
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    try:
        kind = getattr(transformers, config["architectures"][0])
        resolved = kind.config_class.from_dict(config)
        with accelerate.init_empty_weights(include_buffers=True):
            kind._from_config(resolved).tie_weights()  # noqa: SLF001 - as AutoModel does
    except Exception as error:  # noqa: BLE001 - packages are missing on both sides
        print(folder, type(error).__name__)
