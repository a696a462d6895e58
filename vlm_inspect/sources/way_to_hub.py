"""What to look at where no answer comes from the Hub, by what the transport says of it."""

from __future__ import annotations

import os
from pathlib import Path

from vlm_inspect.sources.hub_names import transport_error
from vlm_inspect.sources.proxies import proxies

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OF_TIME = ("expired", "not yet valid")


def way_out(said: str) -> str:
    """What to check, and what to set."""
    text = said.lower()
    setting = [name for name in proxies() if name.lower() != "no_proxy"]
    if "certificate" in text:
        return _trust(text)
    if "407" in text or "proxy authentication" in text:
        variable = next(iter(setting), "HTTPS_PROXY")
        return f"Set {variable}=http://NAME:PASSWORD@HOST:PORT, for this proxy asks who you are."
    if "[ssl" in text:
        return "Check that what HF_ENDPOINT names, or a proxy, is what its address says: http or https."
    if setting:
        named = " and ".join(setting)
        return f"Check the connection and the proxy of {named}. NO_PROXY names hosts to reach without one."
    return "Check the connection (and HF_ENDPOINT, if set) and try again. What was fetched once is cached."


def _trust(text: str) -> str:
    """A certificate that is not trusted: by its date, or by who signed it."""
    if any(words in text for words in _OF_TIME):
        return "Check the clock of this machine: certificates hold from one date to another."
    variable = (
        "REQUESTS_CA_BUNDLE" if transport_error().__module__.startswith("requests") else "SSL_CERT_FILE"
    )
    return f"Set {variable}=/path/to/ca.pem, where a proxy or a mirror signs by itself."


def certificates_not_there() -> str | None:
    """The variable that names certificates where there are none: OpenSSL says so without a file's name."""
    set_to = {name: os.environ.get(name) for name in _CERTIFICATES}
    return next((name for name, place in set_to.items() if place and not Path(place).exists()), None)
