"""From how many of its layers a vision encoder hands features on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# where configurations list the layers whose outputs go on side by side
_LISTS = (
    "vision_feature_layer",
    "vision_feature_layers",
    "intermediate_layers_indices",
    "vit_layers",
    "feature_layers",
)


def feature_layers(*configs: Mapping[str, Any]) -> int | None:
    """How many layers a configuration lists; None where it lists none or one."""
    for config in configs:
        for name in _LISTS:
            listed = config.get(name)
            if isinstance(listed, (list, tuple)) and len(listed) > 1:
                return len(listed)
    return None
