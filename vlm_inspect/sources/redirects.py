"""Where the Hub may send a request on to, and whether the token may go with it.

huggingface_hub follows most redirects without a look at the address. Here each is looked at: it leads to
http or https, never from https to http, and not from a host of the internet into this machine or its network.
The token stays with the host, port and scheme that it was sent to; once left behind it does not come back.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from vlm_inspect.sources.bad_answers import UnlikeHubError

MOST_REDIRECTS = 8
LONGEST_ADDRESS = 16_384
"""Characters; the signed address of a file in large file storage has some 1,500."""

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9a-fA-F:.]{2,45}")
_PLAIN = re.compile(r"[!-~]*")
_THIS_MACHINE = ("localhost", "localhost.localdomain")


def next_address(current: str, location: str) -> str:
    """The address that a redirect leads to. UnlikeHubError for one that no Hub has a reason to name."""
    try:
        target = urljoin(current, location.strip())
        here, there = parts_of(current), parts_of(target)
    except ValueError as error:
        raise UnlikeHubError(f"it redirects to an address that is none ({error})") from None
    if here.scheme == "https" and there.scheme != "https":
        raise UnlikeHubError(f"it redirects from https to {there.scheme}")
    if _nearness(there) > _nearness(here):
        raise UnlikeHubError(f"it redirects into the local network, to {there.hostname}")
    return target


def keeps_token(current: str, target: str) -> bool:
    """Whether both addresses are of one scheme, host and port: a token goes nowhere else."""
    return _origin(parts_of(current)) == _origin(parts_of(target))


def parts_of(address: str) -> SplitResult:
    """The parts of an address that a request can be sent to. ValueError for any other."""
    if len(address) > LONGEST_ADDRESS or not _PLAIN.fullmatch(address):
        raise ValueError("too long, or with characters that no address has")
    parts = urlsplit(address)
    if parts.scheme not in _PORTS:
        raise ValueError(f"neither http nor https: {parts.scheme[:20] or 'no scheme'}:")
    if not _HOST.fullmatch(parts.hostname or "") or parts.port == 0:
        raise ValueError("no host, or one that is none")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _nearness(parts: SplitResult) -> int:
    """How near the host is, as far as its name tells: internet, private network, this machine, the link.

    Services that tell a cloud's machine its secrets are on the link (169.254.169.254), where no Hub ever is.
    """
    host = (parts.hostname or "").rstrip(".")
    if host in _THIS_MACHINE or host.endswith(".localhost"):
        return 2
    address = _number(host)
    if address is None:
        return 0
    if address.is_link_local:
        return 3
    if address.is_loopback or address.is_unspecified:
        return 2
    return 0 if address.is_global else 1


def _number(host: str) -> IPv4Address | IPv6Address | None:
    """A host that is a number, in any of the ways that an address of a machine can be spelt."""
    try:
        address = ip_address(host)
    except ValueError:
        return _spelt_oddly(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _spelt_oddly(host: str) -> IPv4Address | None:
    """2852039166, 0xa9fea9fe, 0251.0376.0251.0376 and 169.254.43518: resolvers take them for addresses."""
    import socket

    if not re.fullmatch(r"[0-9a-fxA-FX.]+", host):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
