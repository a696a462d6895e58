"""From the loader's names and shapes to a `LoadReport`. No torch, no file, no network."""

from vlm_inspect.verification.adapter import Adapter, adapter_keys, fit_adapter
from vlm_inspect.verification.adapter_modules import targets_of
from vlm_inspect.verification.checkpoint import fit_checkpoint

__all__ = ["Adapter", "adapter_keys", "fit_adapter", "fit_checkpoint", "targets_of"]
