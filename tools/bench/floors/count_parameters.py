"""The floor of reading headers: huggingface_hub's own reader and a sum."""

import sys

from huggingface_hub import get_safetensors_metadata

print(sum(get_safetensors_metadata(sys.argv[1]).parameter_count.values()))
