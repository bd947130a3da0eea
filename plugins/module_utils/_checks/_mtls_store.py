# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""The CAs, certificates, keys and revocation lists that are there; each is read and parsed once."""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _pki
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import Finding, OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._host import Host

TRUSTED, LISTS = "ca.pem", "crl.pem"
# There from before the files that refuse a client until nginx's old workers have ended, whichever run ends them.
DISCONNECTING = "disconnecting"


class Generation(t.NamedTuple):
    """One key with its certificate, in a folder of its own."""

    path: str
    certificate: _pki.Certificate | None
    # Whether the key belongs to the certificate.
    has_key: bool
    # Names of the CAs whose signature it carries.
    signed_by: frozenset[str]
    files: frozenset[str]

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


class SignedList(t.NamedTuple):
    """A revocation list, and the names of the CAs whose signature it carries."""

    content: _pki.RevocationList
    signed_by: frozenset[str]


class Store(t.NamedTuple):
    """All of it. A kind is C(server), or C(clients/NAME)."""

    cas: list[_pki.CA]
    problems: list[OpenClawError]
    generations: dict[str, list[Generation]]
    # The generation in use, by kind.
    current: dict[str, str]
    lists: list[SignedList]
    # Whether a run was interrupted that was to disconnect a client.
    disconnecting: bool

    def of(self, kind: str) -> list[Generation]:
        """Every generation of a kind, by age."""
        return self.generations.get(kind, [])

    def in_use(self, kind: str) -> Generation | None:
        current = self.current.get(kind, "")
        return next((each for each in self.of(kind) if each.name == current), None)

    def clients(self) -> list[str]:
        """Every client that has, or had, a certificate."""
        return [kind.partition("/")[2] for kind in sorted(self.generations) if kind.startswith("clients/")]


def read(host: Host, params: t.Mapping[str, t.Any]) -> Store:
    """Read it; on a host that cannot read certificates yet, there is none."""
    directory = pathlib.Path(params["directory"])
    cas, problems = read_cas(directory, params)
    kinds = ["server", *(f"clients/{path.name}" for path in sorted(directory.glob("clients/*")) if path.is_dir())]
    texts = host.text(str(directory / LISTS))
    lists = _pki.revocation_lists(texts) if _pki.HAS_CRYPTOGRAPHY else []
    return Store(
        cas=cas,
        problems=problems,
        generations={kind: read_generations(host, directory / kind, cas) for kind in kinds},
        current={kind: read_link(directory / kind / "current") for kind in kinds},
        lists=[SignedList(each, signers(each, cas)) for each in lists],
        disconnecting=os.path.exists(directory / DISCONNECTING),
    )


def read_cas(directory: pathlib.Path, params: t.Mapping[str, t.Any]) -> tuple[list[_pki.CA], list[OpenClawError]]:
    """The CAs, those of the host or those that the controller has checked, and what is wrong with others."""
    if params["cas"] and params["cas"]["problems"]:
        return [], [Finding(text) for text in params["cas"]["problems"]]
    if not _pki.HAS_CRYPTOGRAPHY:
        return [], []
    if not params["cas"]:
        return _pki.cas(_pki.read_folder(str(directory / "ca")), params["passphrase"])
    # The controller has checked their keys, which do not leave it.
    return [
        _pki.CA(
            each["name"],
            bool(each["has_key"]),
            _pki.certificate(f"The certificate of the CA, {each['name']}", each["certificate"]),
            each["key_name"],
            each["cross"],
        )
        for each in params["cas"]["cas"]
    ], []


def read_generations(host: Host, folder: pathlib.Path, cas: t.Sequence[_pki.CA]) -> list[Generation]:
    """Every generation of the server's certificate or of one client's, by age."""
    found = []
    for path in sorted(folder.glob("*/cert.pem")):
        if path.parent.is_symlink():
            continue
        certificate, has_key = None, False
        try:
            if _pki.HAS_CRYPTOGRAPHY:
                certificate = _pki.certificate(str(path), host.text(str(path)))
                key = host.text(str(path.with_name("key.pem")))
                has_key = _pki.public_key_of(str(path), key, None) == certificate.public_key
        except OpenClawError:
            pass  # without a certificate or without its key, a new one is issued
        signed_by = signers(certificate, cas) if certificate else frozenset()
        files = frozenset(os.listdir(path.parent))
        found.append(Generation(str(path.parent), certificate, has_key, signed_by, files))
    return found


def read_link(path: pathlib.Path) -> str:
    """What a link points to, empty where there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def signers(signed: _pki.Certificate | _pki.RevocationList, cas: t.Sequence[_pki.CA]) -> frozenset[str]:
    """The names of the CAs whose signature it carries."""
    return frozenset(each.name for each in cas if _pki.is_signed_by(signed, each.certificate))


__all__ = ("DISCONNECTING", "LISTS", "TRUSTED", "Generation", "SignedList", "Store", "read", "signers")
