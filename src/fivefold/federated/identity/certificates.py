"""Certificates (X.509, RFC 5280): one binds a name to two keys, of TLS (P-256) and of messages (Ed25519).

The second stands in the subject's alternative names as the URI `fivefold:ed25519:HEX`, since TLS libraries do not
accept Ed25519 everywhere.
"""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fivefold.federated.refusals import Refused

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
KEY_URI = "fivefold:ed25519:"
MOST_BYTES = 8192
_SKEW = datetime.timedelta(minutes=5)


class Certified(NamedTuple):
    """What a certificate says: a name, its key for messages (32 bytes), its number, and when it ends (seconds)."""

    name: str
    key: bytes
    serial: str
    begins: float
    ends: float


def trusted(der: bytes, authority: x509.Certificate, usage: x509.ObjectIdentifier, now: float) -> Certified:
    """What a certificate says that the authority has signed, for this usage, and that holds now (seconds, UTC).

    Clocks may differ by five minutes. Raises Refused for any other.
    """
    found = said(der)
    if usage not in _signed_for(der, authority, found.name):
        raise Refused(f"the certificate of {found.name!r} is not for this use.")
    if not found.begins - _SKEW.total_seconds() <= now < found.ends + _SKEW.total_seconds():
        raise Refused(f"the certificate of {found.name!r} does not hold now: it ended, or this clock is wrong.")
    return found


def client_key(authority: x509.Certificate, name: str, der: bytes, now: float) -> bytes:
    """The key for messages (32 bytes) of the client of a name, by its certificate. Raises Refused for another's."""
    found = trusted(der, authority, CLIENT, now)
    if found.name != name:
        raise Refused(f"{name!r} shows the certificate of {found.name!r}.")
    return found.key


# the same certificates are shown in every round
@lru_cache(maxsize=4096)
def _signed_for(der: bytes, authority: x509.Certificate, name: str) -> tuple[x509.ObjectIdentifier, ...]:
    """For which usages the authority has signed a certificate, whenever it holds."""
    certificate = x509.load_der_x509_certificate(der)
    try:
        certificate.verify_directly_issued_by(authority)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        raise Refused(f"the certificate of {name!r} is not of the authority that was agreed on.") from None
    return () if constraints.ca else tuple(usages)


@lru_cache(maxsize=4096)
def said(der: bytes) -> Certified:
    """What a certificate says, whoever signed it. Raises Refused for what is none of ours."""
    try:
        if len(der) > MOST_BYTES:
            raise ValueError("too long")
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = key_of(names)
        name = common_name(certificate.subject)
    except (ValueError, x509.ExtensionNotFound):
        raise Refused("this is not a certificate of a federation.") from None
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return Certified(name, key, f"{certificate.serial_number:x}", begins, ends)


def key_of(names: x509.SubjectAlternativeName) -> bytes:
    """The key for messages among alternative names. Raises ValueError unless there is exactly one."""
    (uri,) = (uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(KEY_URI))
    key = bytes.fromhex(uri.removeprefix(KEY_URI))
    if len(key) != 32:
        raise ValueError(f"a key of {len(key)} bytes")
    return key


def common_name(name: x509.Name) -> str:
    """The common name of a subject. Raises ValueError unless there is exactly one."""
    (found,) = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return found.value if isinstance(found.value, str) else found.value.decode()


def pem(der: bytes) -> bytes:
    """A certificate as text."""
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def der(text: bytes) -> bytes:
    """A certificate in PEM as bytes; of several, the first. Raises Refused for what is none."""
    try:
        return x509.load_pem_x509_certificate(text).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise Refused("this is not a certificate in PEM.") from None
