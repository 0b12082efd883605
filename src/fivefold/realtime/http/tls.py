"""TLS of a server: its certificate, and of whom clients must have one. Files that change are read again."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fivefold.core.errors import Invalid

LOOK_SECONDS = 5.0
"""How often the files are looked at."""


class Certificates:
    """A certificate chain and its key (PEM), and the authorities of clients' certificates, which are then required.

    Raises Invalid, naming the option, for a file that cannot be read or is not what it should be.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._seen = self._stamp()
        self.context = self._read()
        """For new connections over HTTP."""

    @property
    def asks_clients(self) -> bool:
        """Whether clients must have a certificate."""
        return self._client_ca is not None

    def look(self) -> bool:
        """Read files that have changed; whether there were any. Raises Invalid; what was read before is then kept."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self.context = self._read()
        self._seen = stamp
        return True

    def credentials(self) -> Any:
        """For gRPC, which asks anew at every handshake."""
        import grpc

        seen = self._seen

        def changed() -> Any:
            nonlocal seen
            if seen == self._seen:
                return None
            seen = self._seen
            return self._configuration()

        return grpc.dynamic_ssl_server_credentials(self._configuration(), changed, self.asks_clients)

    def _configuration(self) -> Any:
        import grpc

        chain = [(self._key.read_bytes(), self._cert.read_bytes())]
        authorities = None if self._client_ca is None else self._client_ca.read_bytes()
        return grpc.ssl_server_certificate_configuration(chain, authorities)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # without a password it would ask for one on the terminal
            context.load_cert_chain(self._cert, self._key, password=lambda: b"")
        except (OSError, ValueError) as e:
            raise Invalid(
                f"--tls-cert {self._cert}, --tls-key {self._key}: {_why(e)}.",
                hint="Accepted are a chain of certificates and its key, both PEM, the key not encrypted.",
            ) from None
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self._client_ca)
            except (OSError, ValueError) as e:
                raise Invalid(
                    f"--tls-client-ca {self._client_ca}: {_why(e)}.", hint="Accepted are certificates in PEM."
                ) from None
        return context

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_stat(f) for f in (self._cert, self._key, self._client_ca) if f is not None)


def common_name(certificate: Mapping[str, Any] | None) -> str:
    """The common name of the subject of a certificate that was verified; nothing, when it has none or several."""
    if not certificate:
        return ""
    subject: Iterable[Iterable[tuple[str, str]]] = certificate.get("subject", ())
    names = [value for part in subject for field, value in part if field == "commonName"]
    return names[0] if len(names) == 1 else ""


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"they do not fit or are not PEM ({error.reason or error})"
    return getattr(error, "strerror", None) or str(error)
