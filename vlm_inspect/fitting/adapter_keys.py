"""The names of an adapter's tensors: `base_model.model.<module>.lora_A.weight`, as PEFT saves them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

_WRAPPED = ("base_model.model.", "base_model.")
# how PEFT's methods name what they put into a module: what the names start with
_PART = re.compile(
    r"(lora|adamss|beft|boft|bone|c3a|deft|delora|fourierft|frod|glora|gralora|hada|hira|hra|ia3|lily|ln_tuning"
    r"|lokr|miss|oft|osf|peanut|poly|psoft|pvera_lambda|randlora|road|shira|supertuning|tinylora"
    r"|trainable_tokens|unilora|vblora|vera_lambda|waveft)_\w+"
)
_INNER = (".base_layer", ".token_adapter")


class AdapterKey(Struct, frozen=True):
    """One tensor of an adapter."""

    key: str
    module: str
    """The module that it is for, as the adapter names it; empty of a parameter that it replaces whole."""
    part: str
    """`lora_A`, `lora_B.bias`; of a parameter that it replaces whole the parameter's name."""

    @property
    def lookup(self) -> str:
        """The parameter whose place in the model tells the place of this one."""
        return f"{self.module}.weight" if self.module else self.part


def adapter_keys(keys: Iterable[str]) -> list[AdapterKey]:
    """The keys, taken apart."""
    return [_adapter_key(key) for key in keys]


def _adapter_key(key: str) -> AdapterKey:
    name = next((key.removeprefix(wrap) for wrap in _WRAPPED if key.startswith(wrap)), key)
    parts = name.split(".")
    for index, part in enumerate(parts):
        if index and _PART.fullmatch(part):
            module = ".".join(parts[:index])
            for inner in _INNER:
                module = module.removesuffix(inner)
            is_bias = index < len(parts) - 1 and parts[-1] == "bias"
            return AdapterKey(key, module, f"{part}.bias" if is_bias else part)
    return AdapterKey(key, "", name)
