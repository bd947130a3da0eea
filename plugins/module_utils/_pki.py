# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What certificates, keys and revocation lists say. It reads; the modules of community.crypto make them."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.x509.oid import NameOID
except ImportError:  # a bare host: there is nothing yet that could be read
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

_BLOCK = re.compile(r"-----BEGIN (?P<what>[A-Z0-9 ]+)-----\n.*?-----END (?P=what)-----\n?", re.DOTALL)
_HOST_NAME = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_NGINX_WORDS = ("default", "hostnames", "include", "volatile")
_REPAIR = "Give it as PEM, whole, as openssl prints it."


class Certificate(t.NamedTuple):
    """What of a certificate matters here; times in seconds since the epoch."""

    pem: str
    common_name: str
    # The subject as community.crypto takes it: a dictionary with one key for each part.
    subject: list[dict[str, str]]
    serial: int
    not_before: float
    not_after: float
    public_key: bytes
    names: frozenset[str]
    is_ca: bool
    # As cryptography has read it, so that nothing is parsed twice.
    parsed: t.Any


class CA(t.NamedTuple):
    """A CA by the name of its files, and whether its key is there to sign with."""

    name: str
    has_key: bool
    certificate: Certificate
    key_name: str
    # Its certificate as the previous CA signed it, for those who know only that one.
    cross: str


class RevocationList(t.NamedTuple):
    """What of a revocation list matters here: serial numbers with the time of their revocation."""

    pem: str
    next_update: float
    revoked: dict[int, float]
    parsed: t.Any


def blocks(text: str, what: str) -> list[str]:
    """The PEM blocks of one kind in a text, each with one line feed at its end."""
    found = _BLOCK.finditer(text.replace("\r\n", "\n"))
    return [match.group(0).strip() + "\n" for match in found if match.group("what") == what]


def certificate(subject: str, text: str) -> Certificate:
    """The first certificate in a text.

    :param subject: what the text is, for a message.
    """
    found = blocks(text, "CERTIFICATE")
    if not found:
        raise OpenClawError(subject, "there is no certificate in it", _REPAIR)
    try:
        read = x509.load_pem_x509_certificate(found[0].encode())
        key = read.public_key()
    except ValueError:
        raise OpenClawError(subject, "it cannot be read as a certificate", _REPAIR) from None
    return Certificate(
        pem=found[0],
        common_name=_common_name(read),
        subject=[{_part_name(part): str(part.value)} for part in read.subject],
        serial=read.serial_number,
        not_before=_seconds(read, "not_valid_before"),
        not_after=_seconds(read, "not_valid_after"),
        public_key=_public_bytes(key),
        names=_names(read),
        is_ca=_is_ca(read),
        parsed=read,
    )


def public_key_of(subject: str, text: str, passphrase: str | None) -> bytes:
    """The public half of a private key, which it takes to show that the key belongs to a certificate."""
    secret = passphrase.encode() if passphrase else None
    try:
        try:
            key = serialization.load_pem_private_key(text.encode(), secret)
        except TypeError:
            # A passphrase for a key that has none is no reason to refuse it; the other way round it is.
            if not secret:
                raise
            key = serialization.load_pem_private_key(text.encode(), None)
    except TypeError:
        remedy = "Set mtls_ca_passphrase."
        raise OpenClawError(subject, "it is encrypted and there is no passphrase", remedy) from None
    except ValueError:
        if "ENCRYPTED" in text and secret:
            reason = "mtls_ca_passphrase does not open it"
            raise OpenClawError(subject, reason, "Correct mtls_ca_passphrase.") from None
        raise OpenClawError(subject, "it cannot be read as a private key", _REPAIR) from None
    return _public_bytes(key.public_key())


def is_signed_by(signed: Certificate | RevocationList, ca: Certificate) -> bool:
    """Whether a CA has signed this certificate, or this revocation list."""
    signature, issuer = signed.parsed, ca.parsed
    if signature.issuer != issuer.subject:
        return False
    body = "tbs_certlist_bytes" if isinstance(signed, RevocationList) else "tbs_certificate_bytes"
    key, digest = issuer.public_key(), signature.signature_hash_algorithm
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature.signature, getattr(signature, body), ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature.signature, getattr(signature, body), padding.PKCS1v15(), digest)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def revocation_lists(text: str) -> list[RevocationList]:
    """The revocation lists in a text; a broken one is none."""
    found = []
    for pem in blocks(text, "X509 CRL"):
        try:
            read = x509.load_pem_x509_crl(pem.encode())
        except ValueError:
            continue
        revoked = {entry.serial_number: _seconds(entry, "revocation_date") for entry in read}
        found.append(RevocationList(pem, _seconds(read, "next_update"), revoked, read))
    return found


def read_folder(folder: str) -> list[dict[str, str]]:
    """The CAs in a folder, C(NAME.pem) beside C(NAME.key), as texts."""
    entries = []
    for path in sorted(pathlib.Path(folder).glob("*.pem")):
        key = path.with_suffix(".key")
        text = key.read_text(encoding="utf-8", errors="replace") if key.is_file() else ""
        certificate_text = path.read_text(encoding="utf-8", errors="replace")
        cross = path.with_suffix(".cross")
        entries.append(
            {
                "name": str(path),
                "certificate": certificate_text,
                "key": text,
                "key_name": str(key),
                "cross": cross.read_text(encoding="utf-8") if cross.is_file() else "",
            }
        )
    return entries


def cas(entries: t.Sequence[t.Mapping[str, str]], passphrase: str | None) -> tuple[list[CA], list[OpenClawError]]:
    """The CAs that can be used, the one that began last first, and what is wrong with the others.

    :param entries: each a ``name``, a ``certificate``, a ``key`` that may be empty, and a ``key_name``.
    """
    found: list[CA] = []
    errors: list[OpenClawError] = []
    for entry in entries:
        subject = f"The certificate of the CA, {entry['name']}"
        try:
            read = certificate(subject, entry["certificate"])
            if not read.is_ca:
                remedy = "Give one that has CA:TRUE in its basic constraints."
                raise OpenClawError(subject, "it is not one of a CA", remedy)
            if entry["key"]:
                its_key = f"The key of the CA, {entry['key_name']}"
                if public_key_of(its_key, entry["key"], passphrase) != read.public_key:
                    reason = f"it does not belong to the certificate {entry['name']}"
                    raise OpenClawError(its_key, reason, "Give key and certificate of the same CA.")
        except OpenClawError as error:
            errors.append(error)
        else:
            name = pathlib.Path(entry["name"]).stem
            found.append(CA(name, bool(entry["key"]), read, entry["key_name"], entry["cross"]))
    found.sort(key=lambda each: -each.certificate.not_before)
    return found, errors


def name_problem(name: str) -> str:
    """Why a certificate for a server cannot carry a name, or an empty text."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "" if _HOST_NAME.fullmatch(name) else "it is neither a host name nor an IP address"
    return ""


def client_problem(name: str) -> str:
    """Why a client cannot have this name, or an empty text: it becomes part of paths and of nginx's configuration."""
    if name in _NGINX_WORDS:
        return "nginx takes the word for something else"
    if not _CLIENT_NAME.fullmatch(name):
        return "a name is of letters, digits and . _ @ -, begins with a letter or a digit, and has 63 of them at most"
    return ""


def alternative_name(name: str) -> str:
    """A name as it stands in a certificate: ``DNS:…`` or ``IP:…``."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name.lower()}"


def octets(serial: int) -> str:
    """A serial number as community.crypto takes those that are too long for a number of YAML's."""
    digits = f"{serial:x}"
    digits = digits.rjust(len(digits) + len(digits) % 2, "0")
    return ":".join(digits[at : at + 2].upper() for at in range(0, len(digits), 2))


def asn1_time(seconds: float) -> str:
    """A time as community.crypto takes it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y%m%d%H%M%SZ")


def day(seconds: float) -> str:
    """A time as a person reads it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def days_left(until: float, now: float) -> int:
    """Whole days until a time; negative where it has passed."""
    return int((until - now) // 86400)


def _seconds(read: t.Any, name: str) -> float:
    """A time of a certificate. Its names with ``_utc`` are newer than the cryptography of Debian 12."""
    when = getattr(read, f"{name}_utc", None)
    if when is None:
        when = getattr(read, name).replace(tzinfo=datetime.UTC)
    return float(when.timestamp())


def _public_bytes(key: t.Any) -> bytes:
    encoding, layout = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(encoding, layout))


def _common_name(read: t.Any) -> str:
    parts = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(parts[0].value) if parts else ""


def _part_name(part: t.Any) -> str:
    # "CN", "O" and the like where there is such a short name.
    return str(part.rfc4514_string().partition("=")[0])


def _names(read: t.Any) -> frozenset[str]:
    try:
        found = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    names = [f"DNS:{name.lower()}" for name in found.get_values_for_type(x509.DNSName)]
    return frozenset([*names, *(f"IP:{address}" for address in found.get_values_for_type(x509.IPAddress))])


def _is_ca(read: t.Any) -> bool:
    try:
        return bool(read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


__all__ = (
    "CA",
    "HAS_CRYPTOGRAPHY",
    "Certificate",
    "RevocationList",
    "alternative_name",
    "asn1_time",
    "blocks",
    "cas",
    "certificate",
    "client_problem",
    "day",
    "days_left",
    "is_signed_by",
    "name_problem",
    "octets",
    "public_key_of",
    "read_folder",
    "revocation_lists",
)
