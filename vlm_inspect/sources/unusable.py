"""huggingface_hub that cannot be imported, or lacks the package that a proxy asks for."""

from __future__ import annotations

import re

from vlm_inspect import installed
from vlm_inspect.errors import BrokenEnvironmentError
from vlm_inspect.sources.proxies import proxies

_PACKAGE_OF_SOCKS = re.compile(r"'(\w+)' package")


def unusable(error: ImportError) -> BrokenEnvironmentError:
    """Say which of the two, and what to install."""
    named = _PACKAGE_OF_SOCKS.search(str(error))
    if "SOCKS" in str(error) and named is not None:
        return BrokenEnvironmentError(
            f"a SOCKS proxy is set ({', '.join(proxies())}), and the package for it is not installed.",
            hint=f"pip install {named[1]}, or set an HTTP proxy, or none.",
        )
    return installed.import_failure("huggingface_hub", error)
