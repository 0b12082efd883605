"""How a site enrols: it makes its keys, shows its invitation once, and keeps its certificate and the server's key."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography import x509

from fivefold.core.errors import Invalid, NotFound
from fivefold.federated.identity import certificates
from fivefold.federated.identity.invitation import Invitation
from fivefold.federated.identity.keys import Keys
from fivefold.federated.identity.private_files import read_private, write_private
from fivefold.federated.rounds.bodies import Answered, Enrol, Enrolled, decode, encode
from fivefold.federated.wire.line import Line


class Site(msgspec.Struct, frozen=True):
    """What a site knows of its federations' server: under which name it is known there, the address, the authority
    (PEM), and the server's key for messages."""

    client: str
    server: str
    authority: str
    server_key: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's certificate."""
        return x509.load_pem_x509_certificate(self.authority.encode())


def enrol(
    folder: Path, invitation: Invitation, connect: Callable[[str, bytes], Line], now: float | None = None
) -> Site:
    """Enrol in `folder`, where the keys are made and stay. `connect` gives a line to an address under an authority.

    Cut short and tried again with the same invitation it goes on. Raises what the server refuses with, and Refused
    when its certificate is not of the invitation's authority.
    """
    now = time.time() if now is None else now
    keys, authority = Keys(folder, invitation.client), invitation.authority.encode()
    line = connect(invitation.enrol, authority)
    try:
        reply = decode(line.call(encode(Enrol(invitation.token, keys.request()))), Answered)
    finally:
        line.close()
    if reply.failure is not None:
        raise reply.failure.error()
    found = decode(reply.body, Enrolled)
    try:
        root = x509.load_pem_x509_certificate(authority)
    except ValueError:
        raise Invalid("authority: the invitation's authority is not a certificate in PEM.") from None
    server = certificates.trusted(found.server, root, certificates.SERVER, now)
    certificates.trusted(found.certificate, root, certificates.CLIENT, now)
    site = Site(invitation.client, invitation.server, invitation.authority, server.key)
    write_private(folder / "site.json", msgspec.json.encode(site))
    keys.install(found.certificate)
    return site


def read_site(folder: Path) -> Site:
    """What `enrol` has kept. Raises NotFound before it has, and Invalid for a file that was changed."""
    kept = read_private(folder / "site.json")
    if kept is None:
        raise NotFound(
            f"{folder} has not enrolled.", hint="Run `fivefold federate client` with an invitation on standard input."
        )
    try:
        return msgspec.json.decode(kept, type=Site)
    except msgspec.DecodeError:
        raise Invalid(f"{folder / 'site.json'} cannot be read.", hint="Enrol anew.") from None
