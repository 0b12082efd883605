"""The keys of one party, made where it runs and kept in files of mode 600."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from fivefold.core.errors import Invalid
from fivefold.federated.identity import certificates
from fivefold.federated.identity.certificates import KEY_URI, Certified
from fivefold.federated.identity.private_files import read_private, write_private


class Request(msgspec.Struct, frozen=True):
    """What is asked of an authority: a signing request (PKCS #10, DER), signed by both keys it names."""

    csr: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """What an identical retry has in common."""
        return hashlib.sha256(self.csr + self.signature).hexdigest()


def request_over(csr: bytes) -> bytes:
    """What the key for messages signs in a request."""
    return b"fivefold certificate request 1" + hashlib.sha256(csr).digest()


class Keys:
    """The keys of `name` in a folder: `identity.key` for messages (Ed25519), and `tls.pem`, a key (P-256) with its
    certificate chain, once there is one. Whatever is missing is made.

    Raises Invalid for a file that others may read, or that is not a key.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._tls = folder / "tls.pem"
        self._pending = folder / "tls.next.key"
        self._signing = self._load_or_make()

    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return self._signing.sign(data)

    @property
    def public(self) -> bytes:
        """The key for messages that others know, 32 bytes."""
        return self._signing.public_key().public_bytes_raw()

    @property
    def tls(self) -> bytes | None:
        """Key and certificate of TLS in PEM; None before there is a certificate."""
        return read_private(self._tls)

    @property
    def certificate(self) -> bytes | None:
        """The certificate, DER."""
        tls = self.tls
        return None if tls is None else certificates.der(tls)

    def request(self) -> Request:
        """Ask for a certificate over a new key of TLS. The same request again until it was answered by `install`."""
        kept = read_private(self._pending)
        if kept is None:
            kept = _private_pem(ec.generate_private_key(ec.SECP256R1()))
            write_private(self._pending, kept)
        key = serialization.load_pem_private_key(kept, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        uri = x509.UniformResourceIdentifier(KEY_URI + self.public.hex())
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        )
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        # deterministic (RFC 6979), so that a retry is the same request
        made = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)
        csr = made.public_bytes(serialization.Encoding.DER)
        return Request(csr, self.sign(request_over(csr)))

    def install(self, certificate: bytes) -> Certified:
        """Keep the certificate (DER) that answers the request. Raises Invalid when it is of other keys."""
        pending = read_private(self._pending)
        if pending is None:
            raise Invalid("no certificate was asked for.")
        key = serialization.load_pem_private_key(pending, None)
        found, held = certificates.said(certificate), x509.load_der_x509_certificate(certificate).public_key()
        if found.key != self.public or held != key.public_key() or found.name != self.name:
            raise Invalid(f"the certificate is of {found.name!r} with other keys than were asked for.")
        write_private(self._tls, pending + certificates.pem(certificate))
        self._pending.unlink(missing_ok=True)
        return found

    def renewal_due(self, now: float) -> bool:
        """Whether more than half of the certificate's life is over (seconds, UTC)."""
        certificate = self.certificate
        if certificate is None:
            return True
        found = certificates.said(certificate)
        return now > (found.begins + found.ends) / 2

    def _load_or_make(self) -> Ed25519PrivateKey:
        path = self.folder / "identity.key"
        kept = read_private(path)
        if kept is None:
            made = Ed25519PrivateKey.generate()
            write_private(path, _private_pem(made))
            return made
        try:
            found = serialization.load_pem_private_key(kept, None)
        except (ValueError, TypeError):
            found = None
        if not isinstance(found, Ed25519PrivateKey):
            raise Invalid(f"{path} is not a private key of Ed25519 in PEM.", hint="Restore it, or enrol anew.")
        return found


def _private_pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
