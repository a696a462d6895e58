"""Describe a model: what it is made of, from its module tree or from its configuration alone."""

from __future__ import annotations

from vlm_inspect.anatomy.config_only import describe_config
from vlm_inspect.anatomy.describe import describe

__all__ = ["describe", "describe_config"]
