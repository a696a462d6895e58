"""From the loader's names and shapes to a `LoadReport`. No torch, no file, no network."""

from vlm_inspect.fitting.adapter import Adapter, fit_adapter
from vlm_inspect.fitting.adapter_keys import adapter_keys
from vlm_inspect.fitting.checkpoint import fit_checkpoint
from vlm_inspect.fitting.targets import targets_of

__all__ = ["Adapter", "adapter_keys", "fit_adapter", "fit_checkpoint", "targets_of"]
