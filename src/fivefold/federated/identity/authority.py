"""The certificate authority of a project's federations: it signs what sites ask for, and never sees their keys."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from fivefold.core.errors import Invalid
from fivefold.federated.identity import certificates
from fivefold.federated.identity.certificates import CLIENT, KEY_URI, SERVER
from fivefold.federated.identity.keys import Keys, Request, request_over
from fivefold.federated.identity.private_files import read_private, write_private
from fivefold.federated.refusals import Refused

LIFE_DAYS = 30
_AUTHORITY_DAYS = 3650
_BACKDATED = datetime.timedelta(minutes=5)


class Authority:
    """An authority whose key lies in `folder/authority.pem` (mode 600); made when there is none."""

    def __init__(self, folder: Path, project: str, now: float) -> None:
        self.folder, self._path = folder, folder / "authority.pem"
        kept = read_private(self._path)
        if kept is None:
            kept = _made(f"fivefold federations of {project}", now)
            write_private(self._path, kept)
        try:
            key = serialization.load_pem_private_key(kept, None)
            self.certificate = x509.load_pem_x509_certificate(kept)
        except (ValueError, TypeError):
            raise Invalid(f"{self._path} is not a private key and a certificate in PEM.") from None
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @property
    def pem(self) -> bytes:
        """The certificate by which others know what the authority has signed."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, request: Request, name: str, now: float, *, days: float = LIFE_DAYS) -> bytes:
        """A certificate (DER) for a client. `name` is whom the request is known to be from, whatever it says itself.

        Raises Refused when the request is not signed by both of its keys.
        """
        return self._issue(request, name, now, days, CLIENT, ())

    def server_keys(self, hosts: Sequence[str], now: float) -> Keys:
        """The server's own keys, with a certificate for these hosts that holds for at least half its life."""
        keys = Keys(self.folder / "server", "server")
        if keys.renewal_due(now) or not set(hosts) <= _hosts(keys.certificate):
            keys.install(self._issue(keys.request(), "server", now, LIFE_DAYS, SERVER, hosts))
        return keys

    def _issue(
        self, request: Request, name: str, now: float, days: float, usage: x509.ObjectIdentifier, hosts: Sequence[str]
    ) -> bytes:
        tls, key = _asked(request)
        begins = datetime.datetime.fromtimestamp(now, datetime.UTC)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(KEY_URI + key.hex()), *map(_host, hosts)]
        authority = self.certificate.public_key()
        assert isinstance(authority, ec.EllipticCurvePublicKey)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(tls)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins - _BACKDATED)
            .not_valid_after(begins + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _asked(request: Request) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """The two keys of a request that both have signed."""
    try:
        if len(request.csr) > certificates.MOST_BYTES:
            raise ValueError("too long")
        csr = x509.load_der_x509_csr(request.csr)
        key = certificates.key_of(csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        tls = csr.public_key()
        if not csr.is_signature_valid or not isinstance(tls, ec.EllipticCurvePublicKey):
            raise ValueError("not signed by its key")
        Ed25519PublicKey.from_public_bytes(key).verify(request.signature, request_over(request.csr))
    except (ValueError, InvalidSignature, x509.ExtensionNotFound):
        raise Refused("the certificate request is not signed by both of its keys.") from None
    return tls, key


def requested_key(request: Request) -> bytes:
    """The key for messages (32 bytes) of a request. Raises Refused when it is not signed by both of its keys."""
    return _asked(request)[1]


def _made(name: str, now: float) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.datetime.fromtimestamp(now, datetime.UTC)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - _BACKDATED)
        .not_valid_after(begins + datetime.timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: bytes | None) -> set[str]:
    if certificate is None:
        return set()
    names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    dns = names.value.get_values_for_type(x509.DNSName)
    return {*dns, *map(str, names.value.get_values_for_type(x509.IPAddress))}
