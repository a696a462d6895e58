"""ModuleTree and configuration to Architecture.

`describe` reads a built tree, `describe_config` what a configuration says on its own.
"""

from __future__ import annotations

from vlm_inspect.anatomy.config_only import describe_config
from vlm_inspect.anatomy.describe import describe

__all__ = ["describe", "describe_config"]
