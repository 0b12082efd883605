"""Keys stay where they were made, in files that nobody else may read; certificates say what they should."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fivefold.core.errors import Invalid
from fivefold.federated.identity import certificates
from fivefold.federated.identity.authority import Authority, requested_key
from fivefold.federated.identity.certificates import CLIENT, SERVER, trusted
from fivefold.federated.identity.keys import Keys
from fivefold.federated.refusals import Refused

NOW = 1_800_000_000.0
DAY = 86400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority", "shop", NOW)


def test_private_files_are_their_owners_alone(tmp_path: Path, authority: Authority) -> None:
    keys = Keys(tmp_path / "site", "ada")
    keys.install(authority.issue(keys.request(), "ada", NOW))
    authority.server_keys(["localhost"], NOW)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) == 5
    assert {p.stat().st_mode & 0o777 for p in files} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_dir()} == {0o700}


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    Keys(tmp_path, "ada")
    (tmp_path / "identity.key").chmod(0o640)
    with pytest.raises(Invalid, match="mode 640 .accepted: 600.*chmod 600"):
        Keys(tmp_path, "ada")
    (tmp_path / "identity.key").chmod(0o600)
    (tmp_path / "identity.key").write_bytes(b"rubbish")
    with pytest.raises(Invalid, match="not a private key of Ed25519"):
        Keys(tmp_path, "ada")


def test_keys_are_the_same_after_a_restart_and_the_request_too(tmp_path: Path, authority: Authority) -> None:
    one, other = Keys(tmp_path / "site", "ada"), Keys(tmp_path / "site", "ada")
    assert one.public == other.public
    assert one.request().digest == other.request().digest
    one.install(authority.issue(one.request(), "ada", NOW))
    assert one.request().digest != other.certificate
    assert Keys(tmp_path / "site", "ada").certificate == one.certificate


def test_no_private_key_is_in_what_leaves_the_site(tmp_path: Path) -> None:
    keys = Keys(tmp_path, "ada")
    request = keys.request()
    leaving = msgspec.msgpack.encode(request)
    signing = serialization.load_pem_private_key((tmp_path / "identity.key").read_bytes(), None)
    tls = serialization.load_pem_private_key((tmp_path / "tls.next.key").read_bytes(), None)
    assert signing.private_bytes_raw() not in leaving
    assert tls.private_numbers().private_value.to_bytes(32) not in leaving
    assert b"PRIVATE" not in leaving
    assert requested_key(request) == keys.public


def test_a_certificate_binds_the_name_to_both_keys_for_a_month(tmp_path: Path, authority: Authority) -> None:
    keys = Keys(tmp_path / "site", "ada")
    der = authority.issue(keys.request(), "ada", NOW)
    found = trusted(der, authority.certificate, CLIENT, NOW)
    assert (found.name, found.key) == ("ada", keys.public)
    assert found.ends - NOW == 30 * DAY
    assert x509.load_der_x509_certificate(der).serial_number == int(found.serial, 16)
    for moment in (NOW - DAY, NOW + 31 * DAY):
        with pytest.raises(Refused, match="does not hold now"):
            trusted(der, authority.certificate, CLIENT, moment)
    with pytest.raises(Refused, match="not for this use"):
        trusted(der, authority.certificate, SERVER, NOW)
    other = Authority(tmp_path / "other", "shop", NOW)
    with pytest.raises(Refused, match="not of the authority"):
        trusted(der, other.certificate, CLIENT, NOW)
    for rubbish in (b"", b"rubbish", der[:-40], bytes(9000)):
        with pytest.raises(Refused):
            trusted(rubbish, authority.certificate, CLIENT, NOW)


def test_the_authority_names_whom_it_knows_not_whom_it_is_told(tmp_path: Path, authority: Authority) -> None:
    keys = Keys(tmp_path / "site", "mallory")
    assert trusted(authority.issue(keys.request(), "ada", NOW), authority.certificate, CLIENT, NOW).name == "ada"
    with pytest.raises(Invalid, match="is of 'ada' with other keys"):
        keys.install(authority.issue(keys.request(), "ada", NOW))


def test_a_request_for_somebody_elses_key_is_refused(tmp_path: Path, authority: Authority) -> None:
    ada, mallory = Keys(tmp_path / "ada", "ada"), Keys(tmp_path / "mallory", "ada")
    stolen = msgspec.structs.replace(ada.request(), signature=mallory.request().signature)
    with pytest.raises(Refused, match="signed by both"):
        authority.issue(stolen, "ada", NOW)
    with pytest.raises(Refused, match="signed by both"):
        authority.issue(msgspec.structs.replace(ada.request(), csr=b"rubbish"), "ada", NOW)


def test_a_certificate_of_other_keys_is_not_installed(tmp_path: Path, authority: Authority) -> None:
    ada, bob = Keys(tmp_path / "ada", "ada"), Keys(tmp_path / "bob", "ada")
    ada.request()
    with pytest.raises(Invalid, match="other keys"):
        ada.install(authority.issue(bob.request(), "ada", NOW))
    assert ada.certificate is None


def test_renewal_is_due_at_half_life_and_makes_a_new_key_of_tls(tmp_path: Path, authority: Authority) -> None:
    keys = Keys(tmp_path / "site", "ada")
    assert keys.renewal_due(NOW)
    keys.install(authority.issue(keys.request(), "ada", NOW))
    before = keys.tls
    assert not keys.renewal_due(NOW + 14.9 * DAY)
    assert keys.renewal_due(NOW + 15.1 * DAY)
    keys.install(authority.issue(keys.request(), "ada", NOW + 16 * DAY))
    assert not keys.renewal_due(NOW + 16 * DAY)
    assert before is not None
    assert keys.tls is not None
    assert before.split(b"-----END")[0] != keys.tls.split(b"-----END")[0]


def test_the_servers_certificate_is_for_its_hosts_and_renewed(tmp_path: Path, authority: Authority) -> None:
    keys = authority.server_keys(["localhost", "127.0.0.1"], NOW)
    first = keys.certificate
    assert first is not None
    assert trusted(first, authority.certificate, SERVER, NOW).name == "server"
    assert authority.server_keys(["localhost"], NOW).certificate == first
    other = authority.server_keys(["localhost", "fed.example"], NOW).certificate
    assert other != first
    later = authority.server_keys(["localhost", "fed.example"], NOW + 20 * DAY)
    assert later.certificate != other
    assert later.public == keys.public


def test_an_authority_keeps_its_key_and_signs_no_other_authority(tmp_path: Path, authority: Authority) -> None:
    again = Authority(tmp_path / "authority", "shop", NOW + 1)
    assert again.pem == authority.pem
    constraints = again.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert again.certificate.not_valid_after_utc - again.certificate.not_valid_before_utc > datetime.timedelta(days=3000)
    keys = Keys(tmp_path / "site", "ada")
    issued = x509.load_der_x509_certificate(again.issue(keys.request(), "ada", NOW))
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificates.said(issued.public_bytes(serialization.Encoding.DER)).name == "ada"
