"""HF_ENDPOINT, looked at before huggingface_hub is imported, which ends in a traceback where it is none."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from vlm_inspect.errors import SourceError

WRONG = "HF_ENDPOINT is no address: it needs https:// (or http://) and a host."
HINT = "Set it to that of a Hub, or unset it for https://huggingface.co: unset HF_ENDPOINT"


def is_address() -> bool:
    """Whether requests can be sent to what the environment names; where it names nothing they can."""
    stated = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        parts = urlsplit(stated)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, a port that is none
        return False


def check() -> None:
    """Raise SourceError for an address that is none. Even transformers cannot be imported with it."""
    if not is_address():
        raise SourceError(WRONG, hint=HINT)
