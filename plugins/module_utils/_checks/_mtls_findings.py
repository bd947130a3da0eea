# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What about mutual TLS cannot work, and what the operator should know: pure functions over what is there."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _pki
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_plan as plan
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_store as stores
from ansible_collections.clawops.openclaw.plugins.module_utils._checks._mtls_nginx import Site
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

Params = t.Mapping[str, t.Any]
# On every address, as the mTLS proxy is: a default server of one address only does not concern it.
_DEFAULT_SERVER = r"\blisten\s+(?:(?:\*|0\.0\.0\.0|\[::\]):)?{port}\b[^;]*\bdefault_server\b"


def names(params: Params) -> list[OpenClawError]:
    """Names that a server's certificate cannot carry, and the one that it has to."""
    found = [
        OpenClawError(f"mtls_names: {name}", problem, "Correct it.")
        for name in params["names"]
        if (problem := _pki.name_problem(name))
    ]
    if _pki.alternative_name(params["address"]) not in {_pki.alternative_name(name) for name in params["names"]}:
        reason = f"the certificate would not carry {params['address']}, which clients use"
        remedy = "Add it to mtls_names, or say in mtls_address which of the names they use."
        found.append(OpenClawError("mtls_names", reason, remedy))
    return found


def clients(params: Params) -> list[OpenClawError]:
    """Clients that cannot have their name, and those of whom two things are said."""
    found = []
    for option in ("clients", "revoked"):
        for name in params[option]:
            reserved = "the host's own client has this name"
            if problem := reserved if name == params["probe"] else _pki.client_problem(name):
                found.append(OpenClawError(f"mtls_{option}: {name}", problem, "Choose another name."))
        for name in sorted({each for each in params[option] if params[option].count(each) > 1}):
            found.append(OpenClawError(f"mtls_{option}: {name}", "the name is there twice", "Take one of the two out."))
    for name in sorted({*params["clients"]} & {*params["revoked"]}):
        remedy = "Take the name out of one of the two."
        found.append(OpenClawError(f"mtls_clients: {name}", "mtls_revoked has the same name", remedy))
    known = [*params["clients"], params["probe"]]
    if params["rotate_client"] and params["rotate_client"] not in known:
        remedy = f"Give one of {', '.join(known)}."
        found.append(OpenClawError(f"rotate_client {params['rotate_client']}", "mtls_clients has no such name", remedy))
    return found


def days(params: Params) -> list[OpenClawError]:
    """What is valid for so short a time that every run would renew it."""
    reason = f"mtls_renew_before_days is {params['renew_before_days']}, so every run would renew it"
    return [
        OpenClawError(f"{option} {valid}", reason, f"Set {option} to more, or mtls_renew_before_days to less.")
        for option, valid in params["valid_days"].items()
        if int(valid) <= params["renew_before_days"]
    ]


def ca(params: Params, store: stores.Store, now: float) -> list[OpenClawError]:
    """Why the CA cannot sign on this host, now."""
    if not store.cas:
        return []
    found, signing = [], store.cas[0]
    subject, begins, ends = f"The CA {signing.name}", signing.certificate.not_before, signing.certificate.not_after
    if not signing.has_key:
        remedy = f"Put it back, or take {signing.name} away for another CA."
        found.append(OpenClawError(f"The key of the CA, {signing.key_name}", "it is not there", remedy))
    if begins > now:
        reason = f"it is valid from {_pki.day(begins)} on, and here it is {_pki.day(now)}"
        found.append(OpenClawError(subject, reason, "Set the host's clock, or give a CA that has begun."))
    if ends < now and params["rotate"] != "ca":
        reason = f"it expired {_pki.day(ends)}, and here it is {_pki.day(now)}"
        remedy = "Run rotate.yml -e rotate=mtls_ca; with mtls_ca_source inventory, give another one."
        found.append(OpenClawError(subject, reason, remedy))
    return found + (ca_rotation(params, store, now) if params["rotate"] == "ca" else [])


def ca_rotation(params: Params, store: stores.Store, now: float) -> list[OpenClawError]:
    """Why the CA cannot be rotated now."""
    if not params["ca_create"]:
        reason = "mtls_ca_source is inventory, so no CA is created here"
        remedy = (
            "Give the new one as mtls_ca_certificate and mtls_ca_key, the old certificate in mtls_ca_previous, "
            "and run site.yml."
        )
        return [OpenClawError("rotate=mtls_ca", reason, remedy)]
    if now >= (until := plan.overlap_ends(params, store)):
        return []
    # Only the one before signs for it, so clients that know only the one before that would not accept the server.
    signing, previous = store.cas[:2]
    began = _pki.day(signing.certificate.not_before)
    reason = f"{signing.name} is from {began}, and clients of {previous.name} are let in until {_pki.day(until)}"
    remedy = (
        "Run site.yml, which finishes a rotation that was interrupted too, and rotate then; or refuse them now by "
        "mtls_ca_overlap_days 0."
    )
    return [OpenClawError("rotate=mtls_ca", reason, remedy)]


def ports(params: Params, listeners: t.Mapping[int, str], sites: t.Sequence[Site]) -> list[OpenClawError]:
    """Ports that another program listens on, or another site of nginx."""
    found = []
    if len(set(params["ports"])) < len(params["ports"]):
        found.append(OpenClawError("mtls_http_port", "it is mtls_port as well", "Choose another one, or 0 for none."))
    for port in dict.fromkeys(params["ports"]):
        option = "mtls_port" if port == params["ports"][0] else "mtls_http_port"
        if port in listeners:
            remedy = f"Stop it, or choose another {option}{' (0 for none)' if option == 'mtls_http_port' else ''}."
            found.append(OpenClawError(f"{option} {port}", f"{listeners[port]} listens on it", remedy))
        for site in sites:
            if site.name.startswith("openclaw-") and re.search(rf"listen {port}\b", site.text):
                reason = f"the mTLS proxy of another gateway has it, {site.path}"
                found.append(OpenClawError(f"{option} {port}", reason, f"Choose another {option}."))
            elif option == "mtls_port" and re.search(_DEFAULT_SERVER.format(port=port), site.text):
                # Whose certificates nginx checks before it knows which site is meant.
                reason = f"{site.path} has the default server there, so a client that names no server would be let in by its certificates"
                remedy = "Take default_server out of it, or choose another mtls_port."
                found.append(OpenClawError(f"mtls_port {port}", reason, remedy))
    return found


def include(params: Params, unread: str) -> list[OpenClawError]:
    """An nginx.conf of the operator's that does not read the mTLS proxy's file.

    :param unread: its path; empty where it does.
    """
    folder = os.path.dirname(params["site"])
    reason = f"it includes no file of {folder}, so nginx would not serve the mTLS proxy"
    remedy = f"Add 'include {folder}/*.conf;' to its http block."
    return [OpenClawError(unread, reason, remedy)] if unread else []


def unsigned(params: Params, store: stores.Store, now: float) -> list[OpenClawError]:
    """CAs without key and revocation list, whose clients nginx refuses."""
    reason = "its key is not there to sign its revocation list with, and there is none: nginx refuses its clients"
    remedy = "Issue certificates to its clients again, and take it out of mtls_ca_previous."
    unsigned_ = plan.revocation_lists(params, store, now).unsigned
    return [OpenClawError(f"The CA {name}", reason, remedy) for name in unsigned_]


def orphaned(params: Params, store: stores.Store, now: float) -> list[OpenClawError]:
    """Clients in neither list that are still let in."""
    known = (params["probe"], *params["clients"], *params["revoked"])
    found = []
    for name in store.clients():
        of = f"clients/{name}"
        valid = [each.certificate.not_after for each in store.of(of) if each.certificate]
        if name not in known and store.current.get(of) and max(valid, default=0) > now:
            reason = f"it is in neither list and is let in until {_pki.day(max(valid))}"
            found.append(OpenClawError(f"The client {name}", reason, "Add it to mtls_revoked to refuse it."))
    return found


__all__ = ("ca", "clients", "days", "names", "orphaned", "ports", "unsigned")
