# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certificates, keys and revocation lists say, and what of it is refused."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _pki
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


class Made:
    """A certificate and its key; signed by itself where nobody else is named."""

    def __init__(
        self,
        name: str,
        by: Made | None = None,
        *,
        is_ca: bool = False,
        begins: datetime.datetime = NOW - DAY,
        days: int = 100,
        names: tuple[str, ...] = (),
        kind: str = "ecdsa",
        serial: int | None = None,
    ) -> None:
        self.key: Any = (
            ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048)
        )
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, key = (by.name, by.key) if by else (self.name, self.key)
        builder = x509.CertificateBuilder(
            issuer, self.name, self.key.public_key(), serial or x509.random_serial_number()
        )
        builder = builder.not_valid_before(begins).not_valid_after(begins + days * DAY)
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternative, critical=False)
        self.certificate = builder.sign(key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def key_pem(self, passphrase: bytes | None = None) -> str:
        lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        layout = serialization.PrivateFormat.PKCS8
        return str(self.key.private_bytes(serialization.Encoding.PEM, layout, lock).decode())

    def crl(self, *serials: int, ends: datetime.datetime = NOW + 100 * DAY) -> str:
        builder = x509.CertificateRevocationListBuilder(self.name, NOW - 200 * DAY, ends)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def entry(self, name: str = "ca-1", key: str | None = None) -> dict[str, str]:
        text = self.key_pem() if key is None else key
        return {
            "name": f"/ca/{name}.pem",
            "certificate": self.pem,
            "key": text,
            "key_name": f"/ca/{name}.key",
            "cross": "",
        }


CA = Made("CA", is_ca=True)


def test_a_certificate_is_read_with_all_that_matters() -> None:
    made = Made("alice", CA, names=("Gateway.Example.com",), serial=300)
    read = _pki.certificate("it", "words before\n" + made.pem + "words after")
    assert (read.common_name, read.subject, read.serial) == ("alice", [{"CN": "alice"}], 300)
    assert read.names == {"DNS:gateway.example.com"}
    assert (read.not_before, read.not_after) == ((NOW - DAY).timestamp(), (NOW + 99 * DAY).timestamp())
    assert not read.is_ca
    assert _pki.certificate("it", CA.pem).is_ca


@pytest.mark.parametrize("text", ["", "none", CA.key_pem(), CA.pem.replace("M", "A", 3), CA.pem[:200]])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(OpenClawError, match="it: "):
        _pki.certificate("it", text)


def test_a_key_opens_with_its_passphrase_and_with_none_where_it_has_none() -> None:
    public = _pki.certificate("it", CA.pem).public_key
    assert _pki.public_key_of("it", CA.key_pem(b"right"), "right") == public
    assert _pki.public_key_of("it", CA.key_pem(), None) == public
    assert _pki.public_key_of("it", CA.key_pem(), "of no use") == public


@pytest.mark.parametrize(
    ("text", "passphrase", "words"),
    [
        pytest.param(CA.key_pem(b"right"), "wrong", "mtls_ca_passphrase does not open it", id="wrong"),
        pytest.param(CA.key_pem(b"right"), None, "it is encrypted and there is no passphrase", id="none"),
        pytest.param("none", None, "it cannot be read as a private key", id="no-key"),
        pytest.param(CA.pem, None, "it cannot be read as a private key", id="a-certificate"),
    ],
)
def test_a_key_that_does_not_open_is_refused(text: str, passphrase: str | None, words: str) -> None:
    with pytest.raises(OpenClawError, match=words):
        _pki.public_key_of("it", text, passphrase)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_only_the_ca_that_signed_is_the_issuer(kind: str) -> None:
    ours, twin = (Made("CA", is_ca=True, kind=kind) for _ in range(2))
    certificates = [_pki.certificate("it", each.pem) for each in (ours, twin, Made("Another", is_ca=True))]
    (revocations,) = _pki.revocation_lists(ours.crl(1))
    for signed in (_pki.certificate("it", Made("alice", ours).pem), revocations):
        assert [_pki.is_signed_by(signed, each) for each in certificates] == [True, False, False]


def test_revocation_lists_are_read_and_broken_ones_are_none() -> None:
    text = CA.crl(1, 2**150) + CA.crl().replace("M", "A", 3) + CA.pem
    (read,) = _pki.revocation_lists(text)
    assert read.revoked == {1: NOW.timestamp(), 2**150: NOW.timestamp()}
    assert read.next_update == (NOW + 100 * DAY).timestamp()


def test_the_ca_that_began_last_comes_first() -> None:
    older = Made("Older", is_ca=True, begins=NOW - 9 * DAY)
    found, errors = _pki.cas([older.entry("ca-2"), CA.entry("ca-1"), older.entry("ca-3", key="")], None)
    assert ([(each.name, each.has_key) for each in found], errors) == (
        [("ca-1", True), ("ca-2", True), ("ca-3", False)],
        [],
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param(CA.entry(key=Made("x").key_pem()), "ca-1.key: it does not belong", id="key-of-another"),
        pytest.param(Made("x").entry(), "it is not one of a CA", id="no-ca"),
        pytest.param({**CA.entry(), "certificate": "x"}, "ca-1.pem: there is no certificate", id="no-certificate"),
        pytest.param(CA.entry(key="x"), "ca-1.key: it cannot be read as a private key", id="no-key"),
    ],
)
def test_a_ca_that_cannot_be_used_is_told_of(entry: dict[str, str], words: str) -> None:
    found, errors = _pki.cas([entry], None)
    assert (found, len(errors)) == ([], 1)
    assert words in str(errors[0])
    assert "PRIVATE" not in str(errors[0])


@pytest.mark.parametrize("name", ["gateway.example.com", "vps1", "203.0.113.5", "2001:db8::1", "a_b.lab"])
def test_a_name_that_a_server_can_have_is_taken(name: str) -> None:
    assert _pki.name_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["", "no name", "-a", "a..b", "*.example.com", "a;b", "https://x", "a" * 64, "1.2.3.4/8"]
)
def test_a_name_that_no_server_can_have_is_refused(name: str) -> None:
    assert _pki.name_problem(name)


@pytest.mark.parametrize("name", ["alice", "alice@example.com", "laptop-2", "a.b_c", "1"])
def test_a_name_that_a_client_can_have_is_taken(name: str) -> None:
    assert _pki.client_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a b", "a,b", 'a"b', "a;", "a\n", "-x", "ü", "a" * 64, "default", "include"]
)
def test_a_name_that_would_break_a_path_or_nginx_is_refused(name: str) -> None:
    assert _pki.client_problem(name)


def test_a_name_becomes_the_same_however_it_is_written() -> None:
    assert _pki.alternative_name("2001:DB8:0:0::1") == "IP:2001:db8::1"
    assert _pki.alternative_name("Gateway.Example.com") == "DNS:gateway.example.com"


@given(st.integers(min_value=0, max_value=2**160 - 1))
def test_a_serial_number_survives_its_octets(serial: int) -> None:
    assert int(_pki.octets(serial).replace(":", ""), 16) == serial
    assert all(len(each) == 2 for each in _pki.octets(serial).split(":"))


@given(st.integers(min_value=-(10**8), max_value=10**8))
def test_days_are_left_until_the_last_one_has_begun(seconds: int) -> None:
    assert (_pki.days_left(seconds, 0) < 0) is (seconds < 0)
