# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What has to be issued, signed, linked and removed, out of what is there: pure functions."""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _pki
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_store as stores

Params = t.Mapping[str, t.Any]
Entry = dict[str, t.Any]


class Lists(t.NamedTuple):
    """The revocation lists to have, whether one refuses a client for the first time, and CAs that can have none."""

    lists: list[Entry]
    refuses_more: bool
    unsigned: list[str]


def trusted(params: Params, store: stores.Store, now: float) -> list[_pki.CA]:
    """The CA that signs, and the previous ones for as long as their clients are let in."""
    if not store.cas or params["rotate"] == "ca" or params["overlap_days"] < 0:
        return store.cas
    return store.cas if now < overlap_ends(params, store) else store.cas[:1]


def overlap_ends(params: Params, store: stores.Store) -> float:
    """When the clients of the previous CA are let in no longer; 0 where there is none."""
    if len(store.cas) < 2:
        return 0.0
    return store.cas[0].certificate.not_before + float(params["overlap_days"]) * 86400


def ca(params: Params, store: stores.Store) -> dict[str, t.Any]:
    """The CA that signs: its name, its common name, and whether it has to be created."""
    create = params["ca_create"] and (not store.cas or params["rotate"] == "ca")
    name = next_name(store.cas) if create else store.cas[0].name if store.cas else ""
    return {"name": name, "subject": f"{params['ca_subject']} {name}", "create": create}


def next_name(cas: t.Sequence[_pki.CA]) -> str:
    """The name of a CA that is created: the same on every host that shares the folder."""
    numbers = [int(found.group(1)) for each in cas if (found := re.fullmatch(r"ca-(\d+)", each.name))]
    return f"ca-{max(numbers, default=len(cas)) + 1}"


def kinds(params: Params) -> list[str]:
    """What has a certificate: the server, the host's own client, and the clients."""
    return ["server", *(f"clients/{name}" for name in [params["probe"], *params["clients"]])]


def certificates(params: Params, store: stores.Store, now: float) -> list[Entry]:
    """The certificates that have to be issued, each with the reason."""
    create = ca(params, store)["create"]
    names = sorted({_pki.alternative_name(name) for name in params["names"]})
    accepted = [each.name for each in trusted(params, store, now)]
    # Where the inventory says which CAs are trusted, clients that know only the previous one go on as long as it is among them.
    signers = {"server": accepted if params["overlap_days"] < 0 else accepted[:1]}
    found = []
    for of in kinds(params):
        kind, name = ("server" if of == "server" else "client"), os.path.basename(of)
        carried = names if kind == "server" else []
        reason = (
            "the CA is a new one" if create else why_due(params, store, of, carried, signers.get(of, accepted[:1]), now)
        )
        rotated = params["rotate"] == kind and (kind == "server" or params["rotate_client"] in ("", name))
        if reason or rotated:
            found.append({"kind": kind, "name": name, "of": of, "names": carried, "reason": reason or "it is rotated"})
    return found


def why_due(
    params: Params, store: stores.Store, of: str, names: t.Collection[str], signers: t.Collection[str], now: float
) -> str:
    """Why a certificate has to be issued, or an empty text."""
    generation = store.in_use(of)
    if generation is None or generation.certificate is None:
        return "there is none"
    if not generation.has_key:
        return "its key does not belong to it"
    if not generation.signed_by.intersection(signers):
        return "another CA signed it"
    if generation.certificate.names != frozenset(names):
        return "it carries other names"
    if of not in ("server", f"clients/{params['probe']}") and "bundle.p12" not in generation.files:
        return "its bundle is missing"
    left = _pki.days_left(generation.certificate.not_after, now)
    return f"{left} days are left" if left < params["renew_before_days"] else ""


def revoked(params: Params, store: stores.Store, issue: t.Iterable[Entry], now: float) -> list[stores.Generation]:
    """Certificates that are refused from now on."""
    clients = (order["name"] for order in issue if order["kind"] == "client" and params["rotate"] == "client")
    # Another client's, which is merely due, is renewed in the same run, and its old certificate stays good.
    rotated = [name for name in clients if params["rotate_client"] in ("", name)]
    return [
        generation
        for name in sorted({*params["revoked"], *rotated})
        for generation in store.of(f"clients/{name}")
        if generation.certificate and generation.certificate.not_after > now
    ]


def revocation_lists(params: Params, store: stores.Store, now: float) -> Lists:
    """The revocation list of every trusted CA, since nginx wants them all; one that need not be signed has C(keep)."""
    refused = revoked(params, store, certificates(params, store, now), now)
    found: list[Entry] = []
    refuses_more, unsigned = False, []
    for each in trusted(params, store, now):
        old = next((known.content for known in store.lists if each.name in known.signed_by), None)
        # Without the CA's key its list stays as it is.
        if not each.has_key and not old:
            unsigned.append(each.name)
            continue
        entries = dict(old.revoked) if old else {}
        more = {
            generation.certificate.serial: now
            for generation in refused
            if generation.certificate and each.has_key and each.name in generation.signed_by
        }
        refuses_more = refuses_more or bool(more.keys() - entries.keys())
        fresh = old is not None and _pki.days_left(old.next_update, now) >= params["renew_before_days"]
        keep = old.pem if old and (not each.has_key or (fresh and not more.keys() - entries.keys())) else ""
        entries = {**more, **entries}
        found.append({"ca": each.name, "issuer": each.certificate.subject, "keep": keep, "revoked": rows(entries)})
    created = ca(params, store)
    if created["create"]:
        first = {"ca": created["name"], "issuer": [{"CN": created["subject"]}], "keep": "", "revoked": []}
        found.insert(0, first)
    return Lists(found, refuses_more, unsigned)


def rows(entries: t.Mapping[int, float]) -> list[dict[str, str]]:
    """Revoked certificates as community.crypto takes them."""
    return [
        {"serial_number": _pki.octets(serial), "revocation_date": _pki.asn1_time(when)}
        for serial, when in sorted(entries.items())
    ]


def links(params: Params, store: stores.Store, stamp: str, issue: t.Iterable[Entry]) -> list[Entry]:
    """What is in use, and for revoked clients nothing, as entries of file_set."""
    issued = {order["of"] for order in issue}
    found = []
    for of in kinds(params):
        path = os.path.join(params["directory"], of)
        if of != "server":
            found.append({"path": path, "state": "directory", "mode": "0700"})
        source = stamp if of in issued else store.current.get(of, "")
        found.append({"path": f"{path}/current", "state": "link", "src": source})
    for name in params["revoked"]:
        found.append({"path": os.path.join(params["directory"], "clients", name, "current"), "state": "absent"})
    return found


def folders(params: Params, stamp: str, issue: t.Iterable[Entry]) -> list[Entry]:
    """The folders that what is issued needs, as entries of file_set."""
    return [
        {"path": os.path.join(params["directory"], path), "state": "directory", "mode": "0700"}
        for order in issue
        for path in ([order["of"]] if order["kind"] == "client" else []) + [f"{order['of']}/{stamp}"]
    ]


def trust_files(params: Params, cas: t.Iterable[_pki.CA], lists: t.Iterable[Entry]) -> list[Entry]:
    """Which CAs nginx trusts and which certificates it refuses, as entries of file_set, where nothing is to be signed."""
    texts = {
        stores.TRUSTED: "".join(each.certificate.pem for each in cas),
        stores.LISTS: "".join(each["keep"] for each in lists),
    }
    return [{"path": os.path.join(params["directory"], name), "content": text} for name, text in texts.items()]


def own_files(params: Params, has_ipv6: bool) -> list[Entry]:
    """The role's files as this host is to have them: without IPv6, nginx would not start with such an address."""
    if has_ipv6:
        return [dict(entry) for entry in params["files"]]
    return [
        {**entry, "content": re.sub(r"^ *listen \[::\].*\n", "", entry["content"], flags=re.MULTILINE)}
        if entry.get("content") is not None
        else dict(entry)
        for entry in params["files"]
    ]


def obsolete(params: Params, store: stores.Store, issue: t.Iterable[Entry], now: float) -> list[str]:
    """What is left over once the desired generation is in use.

    A certificate that a client may still have stays until it expires: without it, it could not be revoked.
    """
    issued = {order["of"] for order in issue}
    found = [each.path for each in store.of("server") if "server" in issued or each.name != store.current["server"]]
    for name in store.clients():
        of = f"clients/{name}"
        for each in store.of(of):
            if each.name == store.current.get(of) and of not in issued and name not in params["revoked"]:
                continue
            if each.certificate is None or each.certificate.not_after < now:
                found.append(each.path)
            else:
                found += [os.path.join(each.path, file) for file in ("key.pem", "bundle.p12") if file in each.files]
    if not params["cas"]:
        keep = {each.name for each in trusted(params, store, now)}
        for previous in store.cas:
            endings = ("key", "pem", "cross") if previous.cross else ("key", "pem")
            found += [f"{params['directory']}/ca/{previous.name}.{end}" for end in endings if previous.name not in keep]
    return found


def stamp_of(now: float) -> str:
    """Name of the folders of what is issued at this time."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


__all__ = (
    "Lists",
    "ca",
    "certificates",
    "folders",
    "kinds",
    "links",
    "obsolete",
    "overlap_ends",
    "own_files",
    "revocation_lists",
    "stamp_of",
    "trust_files",
    "trusted",
)
