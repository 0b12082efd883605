"""Whether a server may listen where it is told to: nothing that others can reach is without authentication."""

from __future__ import annotations

import ipaddress

from fivefold.core.errors import Invalid
from fivefold.realtime.http.sites import ANY, LOOPBACK

_MENDED = "Run `fivefold users add NAME --role viewer` or `fivefold tokens create NAME --role viewer`, and serve again."


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def must_authenticate(host: str, *, required: bool, anybody: bool, encrypted: bool, insecure: bool) -> bool:
    """Whether who asks on an address must say who it is: always where others reach it, or there is a user or a token.

    `required` is what the environment says, `anybody` whether there is a user or a token, `insecure` whether sending
    secrets in the clear was asked for. Raises Invalid for an address that must not be served on like this.
    """
    local = is_loopback(host)
    if not anybody and not local:
        raise Invalid(
            f"refusing to serve on {host!r} without authentication: other machines could reach it, "
            "and there is no user and no token.",
            hint=_MENDED,
        )
    if not anybody and required:
        raise Invalid("the environment requires authentication, and there is no user and no token.", hint=_MENDED)
    if not local and not encrypted and not insecure:
        raise Invalid(
            f"refusing to serve on {host!r} without TLS: passwords and tokens could be read on the way.",
            hint="Give --tls-cert and --tls-key; or --insecure-http, where a proxy in front encrypts.",
        )
    return required or anybody or not local


def host_names(host: str, configured: tuple[str, ...]) -> tuple[str, ...]:
    """The Host names of a server on an address. Raises Invalid for all addresses at once without a name."""
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = not host
    if everywhere and not configured:
        raise Invalid(
            f"refusing to serve on {host!r} without knowing the server's name.",
            hint='Write hosts = ["models.example.com"] into fivefold.toml; hosts = ["*"] answers to any name.',
        )
    if any("/" in h or (h != ANY and ANY in h) for h in configured):
        raise Invalid(f"hosts: {list(configured)} (accepted: names without scheme, port and path, or *).")
    return (*LOOPBACK, f"[{host}]" if ":" in host else host, *configured)
