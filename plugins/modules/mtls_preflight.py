#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mtls_preflight
short_description: Looks at a host before certificates and a door are put on it, and says what is due
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Reads the certificates, revocation lists and ports of a host in one call, changes nothing and starts no process.
  - Returns what has to be issued, renewed, revoked and removed so that the host is as wished, and fails, with every finding at
    once, where that cannot work.
  - On a host without Python's cryptography there is nothing yet that could be read, so everything is due.
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so has no difference to show.
    support: none
options:
  state:
    description: Whether the door is wished for. For one that is to go nothing is refused.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description: Where the host keeps keys, certificates and revocation lists.
    type: path
    required: true
  site:
    description: nginx's configuration of this door.
    type: path
    required: true
  names:
    description: Names and addresses that the server's certificate carries.
    type: list
    elements: str
    required: true
  address:
    description: The name or address that clients use.
    type: str
    required: true
  clients:
    description: Those who get a certificate.
    type: list
    elements: str
    default: []
  revoked:
    description: Those whose certificates are refused.
    type: list
    elements: str
    default: []
  probe:
    description: Name of the client that the host looks at its own door as.
    type: str
    required: true
  ports:
    description: Ports that the door listens on.
    type: list
    elements: int
    required: true
  packages:
    description: The packages that it takes.
    type: list
    elements: str
    required: true
  authority:
    description:
      - Authorities that are not on the host, C(authorities) and C(problems), as P(clawops.openclaw.mtls_authorities#filter) gives them.
        Without it they are in the folder C(ca) of O(directory).
    type: dict
  authority_made:
    description: Whether an authority that is missing is made.
    type: bool
    required: true
  authority_subject:
    description: Beginning of the common name of an authority that is made.
    type: str
    required: true
  passphrase:
    description: What opens an authority's key on the host.
    type: str
  overlap_days:
    description: Days for which the former authority stays trusted. Negative where the inventory says which ones are.
    type: int
    required: true
  renew_before_days:
    description: Whatever has fewer days left is renewed.
    type: int
    required: true
  valid_days:
    description: Options of the role and the days for which what they are about is valid. It has to be more than O(renew_before_days).
    type: dict
    default: {}
  files:
    description:
      - Entries of M(clawops.openclaw.file_set) that the door needs beside what this module plans, of root and readable by all where
        they do not say otherwise.
      - As a host with IPv6 has them; on another one, lines with C(listen [::]) are not looked for.
    type: list
    elements: dict
    default: []
  rotate:
    description: What is made anew although it need not be.
    type: str
    choices: [none, server, client, ca]
    default: none
  rotate_client:
    description: With O(rotate=client), the only client whose certificate is made anew. Empty for all of them.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: preflight | Look at the certificates
  clawops.openclaw.mtls_preflight:
    directory: /etc/openclaw/main/mtls
    site: /etc/nginx/conf.d/openclaw-main.conf
    names: [gateway.example.com]
    address: gateway.example.com
    clients: [alice]
    probe: health
    ports: [443, 80]
    packages: [nginx, python3-cryptography]
    authority_made: true
    authority_subject: OpenClaw vps1
    overlap_days: 30
    renew_before_days: 30
  register: preflight
"""

RETURN = r"""
asked:
  description: What was asked for.
  type: dict
  returned: always
stamp:
  description: Name of the folders of what is issued by this run.
  type: str
  returned: always
installed:
  description: Those of O(packages) that are installed.
  type: list
  elements: str
  returned: always
nginx:
  description: C(running); C(stale), whether it runs with older files than there are; C(ours), whether it came with this
    collection; and C(shared), whether it serves something else.
  type: dict
  returned: always
ipv6:
  description: Whether the host has IPv6.
  type: bool
  returned: always
authority:
  description: C(name) and C(subject) of the authority that signs, and whether it is C(due) to be made.
  type: dict
  returned: always
former:
  description: Names of authorities that are still trusted, with a key to sign with.
  type: list
  elements: str
  returned: always
trusted:
  description: Certificates of all that are trusted and there already, the one that signs first.
  type: list
  elements: str
  returned: always
issue:
  description: Certificates to issue, each with C(kind), C(name), C(folder) and the C(reason).
  type: list
  elements: dict
  returned: always
cross:
  description: The certificate of the one that signs as the former one signed it, where that is still trusted.
  type: str
  returned: always
folders:
  description: The folders of O(directory) that what is issued needs, as entries of M(clawops.openclaw.file_set).
  type: list
  elements: dict
  returned: always
links:
  description: The links to what is in use, as entries of M(clawops.openclaw.file_set).
  type: list
  elements: dict
  returned: always
lists:
  description: Revocation lists, each with the C(authority) that signs it, its C(issuer), C(revoked) and, where it is not due, C(keep).
  type: list
  elements: dict
  returned: always
files:
  description: >-
    Whether nothing is to be issued or signed, and O(files), the links, C(authorities.pem) and C(crl.pem) are all as they should be.
  type: bool
  returned: always
cut:
  description: Whether somebody is refused who was not before, by this run or by one that was broken off.
  type: bool
  returned: always
remove:
  description: Files and folders that are of no use any more.
  type: list
  elements: str
  returned: always
"""

import os
import pathlib
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _files, _host, _pki
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

NGINX = "nginx.service"
ASKED = ("state", "rotate", "names", "clients", "revoked", "ports")
# nginx is told after the files are written; the kernel counts a process's beginning in whole seconds from a boot that it
# knows to a second.
_SLACK = 2.0
# On every address, as the door is: another one's default server is no concern of it.
_DEFAULT_SERVER = r"\blisten\s+(?:(?:\*|0\.0\.0\.0|\[::\]):)?{port}\b[^;]*\bdefault_server\b"


class Folder(t.NamedTuple):
    """One generation of a key and its certificate."""

    path: str
    certificate: _pki.Certificate | None
    fits: bool


class Host:
    """What is on the host, read once."""

    def __init__(self, params: t.Mapping[str, t.Any], now: float) -> None:
        self.params, self.now = params, now
        self.directory = pathlib.Path(params["directory"])
        self.errors: list[OpenClawError] = []
        self.warnings: list[OpenClawError] = []
        self.authorities = self.read_authorities()

    def read_authorities(self) -> list[_pki.Authority]:
        """The authorities; on a host that cannot read them yet, none."""
        if not _pki.HAS_CRYPTOGRAPHY:
            return []
        if self.params["authority"] is None:
            found, errors = _pki.authorities(_pki.read_folder(str(self.directory / "ca")), self.params["passphrase"])
            self.errors += errors
            return found
        # Their keys were looked at where they are.
        return [
            _pki.Authority(
                each["name"],
                bool(each["has_key"]),
                _pki.certificate(f"The certificate of the authority, {each['name']}", each["certificate"]),
                each["key_name"],
                each["cross"],
            )
            for each in self.params["authority"]["authorities"]
        ]

    def trusted(self) -> list[_pki.Authority]:
        """The authority that signs, and the former ones for as long as their clients are let in."""
        if not self.authorities:
            return []
        signing, *former = self.authorities
        if self.params["rotate"] == "ca" or self.params["overlap_days"] < 0:
            return self.authorities
        return [signing, *(former if self.now < self.overlap_ends() else [])]

    def overlap_ends(self) -> float:
        """When the clients of the former authority are let in no longer; 0 where there is none."""
        if len(self.authorities) < 2:
            return 0.0
        return self.authorities[0].certificate.not_before + float(self.params["overlap_days"]) * 86400

    def folders(self, kind: str) -> list[Folder]:
        """Every generation of the server's or of one client's, by age."""
        found = []
        for path in sorted((self.directory / kind).glob("*/cert.pem")):
            if path.parent.is_symlink():
                continue
            read = None
            text, key = _host.read_text(str(path)), _host.read_text(str(path.with_name("key.pem")))
            try:
                read = _pki.certificate(str(path), text) if _pki.HAS_CRYPTOGRAPHY else None
                fits = read is not None and _pki.public_key_of(str(path), key, None) == read.public_key
            except OpenClawError:
                fits = False
            found.append(Folder(str(path.parent), read, fits))
        return found

    def current(self, kind: str) -> str:
        """The generation that is in use."""
        try:
            return os.readlink(self.directory / kind / "current")
        except OSError:
            return ""

    def client_names(self) -> list[str]:
        """Every client that has, or had, a certificate."""
        return sorted(path.name for path in (self.directory / "clients").glob("*") if path.is_dir())


def why_due(host: Host, kind: str, names: t.Collection[str], signers: t.Sequence[_pki.Authority]) -> str:
    """Why a certificate has to be issued, or an empty text."""
    current = host.current(kind)
    folder = next((each for each in host.folders(kind) if os.path.basename(each.path) == current), None)
    if folder is None or folder.certificate is None:
        return "there is none"
    if not folder.fits:
        return "its key does not belong to it"
    if not any(_pki.is_signed_by(folder.certificate.pem, each.certificate) for each in signers):
        return "another authority signed it"
    if folder.certificate.names != frozenset(names):
        return "it carries other names"
    if kind not in ("server", f"clients/{host.params['probe']}") and not os.path.exists(f"{folder.path}/bundle.p12"):
        return "its bundle is missing"
    left = _pki.days_left(folder.certificate.not_after, host.now)
    return f"{left} days are left" if left < host.params["renew_before_days"] else ""


def orders(host: Host, authority_due: bool) -> list[dict[str, t.Any]]:
    """The certificates that have to be issued."""
    params = host.params
    names = sorted({_pki.alternative_name(name) for name in params["names"]})
    # Where the inventory says which authorities are trusted, clients that know only the former one go on as long as it is among them.
    trusted = host.trusted()
    server_signers = trusted if params["overlap_days"] < 0 else trusted[:1]
    wanted = [("server", "server", names, server_signers)]
    wanted += [("client", f"clients/{name}", [], trusted[:1]) for name in [params["probe"], *params["clients"]]]
    found = []
    for kind, folder, carried, signers in wanted:
        name = os.path.basename(folder)
        reason = "the authority is a new one" if authority_due else why_due(host, folder, carried, signers)
        rotated = params["rotate"] == kind and (kind == "server" or params["rotate_client"] in ("", name))
        if reason or rotated:
            found.append(
                {"kind": kind, "name": name, "of": folder, "names": carried, "reason": reason or "it is rotated"}
            )
    return found


def revoked_serials(host: Host, issue: t.Sequence[t.Mapping[str, t.Any]]) -> list[tuple[_pki.Certificate, float]]:
    """Certificates that are refused from now on."""
    meant = (order["name"] for order in issue if order["kind"] == "client" and host.params["rotate"] == "client")
    # Another one that is merely due is renewed on the way, and its former certificate stays good.
    rotated = [name for name in meant if host.params["rotate_client"] in ("", name)]
    found = []
    for name in {*host.params["revoked"], *rotated}:
        for folder in host.folders(f"clients/{name}"):
            if folder.certificate and folder.certificate.not_after > host.now:
                found.append((folder.certificate, host.now))
    return found


def lists(host: Host, revoked: t.Sequence[tuple[_pki.Certificate, float]]) -> tuple[list[dict[str, t.Any]], bool]:
    """The revocation list of every trusted authority, nginx wants them all, and whether one refuses somebody anew."""
    text = _host.read_text(str(host.directory / "crl.pem"))
    there = _pki.revocation_lists(text) if _pki.HAS_CRYPTOGRAPHY else []
    found, cut = [], False
    for authority in host.trusted():
        old = next((each for each in there if _pki.is_signed_by(each.pem, authority.certificate)), None)
        entries = dict(old.revoked) if old else {}
        for certificate, when in revoked:
            if certificate.serial not in entries and _pki.is_signed_by(certificate.pem, authority.certificate):
                entries[certificate.serial] = when
                cut = True
        fresh = old is not None and _pki.days_left(old.next_update, host.now) >= host.params["renew_before_days"]
        keep = old.pem if old and fresh and entries.keys() == old.revoked.keys() else ""
        if not keep and not authority.has_key:
            keep = old.pem if old else ""
            reason = "its key is not there to sign its revocation list with"
            if not keep:
                remedy = "Issue its clients anew, and take it out of mtls_ca_former."
                host.warnings.append(
                    OpenClawError(
                        f"The authority {authority.name}",
                        f"{reason}, and there is none: nginx refuses its clients",
                        remedy,
                    )
                )
                continue
        found.append(
            {
                "authority": authority.name,
                "issuer": authority.certificate.subject,
                "keep": keep,
                "revoked": [
                    {"serial_number": _pki.octets(serial), "revocation_date": _pki.asn1_time(when)}
                    for serial, when in sorted(entries.items())
                ],
            }
        )
    return found, cut


def useless(host: Host, issue: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """What is left over once the wished generation is in use.

    A certificate that somebody else may still have stays until it expires: without it, it could not be revoked.
    """
    params = host.params
    reissued = {order["of"] for order in issue}
    found = []
    for folder in host.folders("server"):
        if "server" in reissued or os.path.basename(folder.path) != host.current("server"):
            found.append(folder.path)
    for name in host.client_names():
        kind = f"clients/{name}"
        for folder in host.folders(kind):
            in_use = os.path.basename(folder.path) == host.current(kind) and kind not in reissued
            if in_use and name not in params["revoked"]:
                continue
            if folder.certificate is None or folder.certificate.not_after < host.now:
                found.append(folder.path)
            else:
                secrets = (os.path.join(folder.path, name) for name in ("key.pem", "bundle.p12"))
                found += [path for path in secrets if os.path.exists(path)]
    if params["authority"] is None:
        trusted = {each.name for each in host.trusted()}
        former = [each.name for each in host.authorities if each.name not in trusted]
        found += [str(host.directory / "ca" / f"{name}.{ending}") for name in former for ending in ("key", "pem")]
    return found


def next_name(authorities: t.Sequence[_pki.Authority]) -> str:
    """The name of an authority that is made: the same on every host that shares the folder."""
    numbers = [int(found.group(1)) for each in authorities if (found := re.fullmatch(r"ca-(\d+)", each.name))]
    return f"ca-{max(numbers, default=len(authorities)) + 1}"


def nginx(host: Host) -> dict[str, bool]:
    """How nginx is, as far as that can be seen without asking it."""
    site = host.params["site"]
    main = _host.main_process(NGINX)
    begun = 0.0
    if main:
        boot, ticks = _host.read_text("/proc/stat"), os.sysconf("SC_CLK_TCK")
        mine = [pid for pid in _host.processes() if _host.unit_of(_host.read_text(f"/proc/{pid}/cgroup")) == NGINX]
        # Its workers are as old as what they were told last.
        stats = [text for pid in mine if (text := _host.read_text(f"/proc/{pid}/stat"))]
        begun = max((_host.started_at(text, boot, ticks) for text in stats), default=0.0)
    files = [site, *(str(host.directory / name) for name in ("authorities.pem", "crl.pem", "server/current"))]
    written = max((os.lstat(path).st_mtime for path in files if os.path.lexists(path)), default=0.0)
    others = [path for path, _ in other_sites(host) if path.name != "nginx.conf"]
    installed = _host.package_version(_host.read_text("/var/lib/dpkg/status"), "nginx")
    return {
        "running": bool(main),
        "stale": bool(main) and written > begun + _SLACK,
        "ours": not installed or os.path.exists("/etc/openclaw/nginx"),
        "shared": bool(others),
    }


def other_sites(host: Host) -> t.Iterator[tuple[pathlib.Path, str]]:
    """The other files of nginx in which a site may be, without their comments."""
    etc = pathlib.Path(host.params["site"]).parent.parent
    for path in sorted(
        path for where in ("nginx.conf", "conf.d/*.conf", "sites-enabled/*") for path in etc.glob(where)
    ):
        if str(path) != host.params["site"]:
            yield path, re.sub(r"#.*", "", _host.read_text(str(path)))


def port_findings(host: Host) -> list[OpenClawError]:
    """Ports that somebody else listens on, or another gateway's door."""
    tables = _host.read_text("/proc/net/tcp") + "\n" + _host.read_text("/proc/net/tcp6")
    sockets = [each for table in tables.split("\n\n") for each in _host.listeners(table)]
    found = []
    for port in host.params["ports"]:
        option = "mtls_port" if port == host.params["ports"][0] else "mtls_http_port"
        for socket in sockets:
            if socket.port != port:
                continue
            pid, name = _host.owner_of(socket.inode)
            if name == "nginx":
                continue
            unit = _host.unit_of(_host.read_text(f"/proc/{pid}/cgroup"))
            owner = f"{name} ({', '.join(filter(None, [f'process {pid}', unit]))})" if pid else "another program"
            remedy = f"Stop it, or choose another {option}{' (0 for none)' if option == 'mtls_http_port' else ''}."
            found.append(OpenClawError(f"{option} {port}", f"{owner} listens on it", remedy))
            break
        for path, text in other_sites(host):
            if path.name.startswith("openclaw-") and re.search(rf"listen {port}\b", text):
                reason = f"another gateway's door has it, {path}"
                found.append(OpenClawError(f"{option} {port}", reason, f"Choose another {option}."))
            elif option == "mtls_port" and re.search(_DEFAULT_SERVER.format(port=port), text):
                # Whose certificates nginx checks before it knows which site is meant.
                reason = f"{path} has the default server there, so a client that names no server would be let in by its certificates"
                remedy = "Take default_server out of it, or choose another mtls_port."
                found.append(OpenClawError(f"mtls_port {port}", reason, remedy))
    return found


def argument_findings(params: t.Mapping[str, t.Any]) -> list[OpenClawError]:
    """What is wrong with what the inventory says, whatever host it is."""
    found = []
    for name in params["names"]:
        if problem := _pki.name_problem(name):
            found.append(OpenClawError(f"mtls_names: {name}", problem, "Correct it."))
    if _pki.alternative_name(params["address"]) not in {_pki.alternative_name(name) for name in params["names"]}:
        reason = f"the certificate would not carry {params['address']}, which clients use"
        remedy = "Add it to mtls_names, or say in mtls_address which of the names they use."
        found.append(OpenClawError("mtls_names", reason, remedy))
    for option in ("clients", "revoked"):
        for name in params[option]:
            problem = "the host itself is called so" if name == params["probe"] else _pki.client_problem(name)
            if problem:
                found.append(OpenClawError(f"mtls_{option}: {name}", problem, "Choose another name."))
        for name in sorted({each for each in params[option] if params[option].count(each) > 1}):
            found.append(OpenClawError(f"mtls_{option}: {name}", "the name is there twice", "Take one of the two out."))
    for name in sorted({*params["clients"]} & {*params["revoked"]}):
        remedy = "Take the name out of one of the two."
        found.append(OpenClawError(f"mtls_clients: {name}", "mtls_revoked has the same name", remedy))
    if len(set(params["ports"])) < len(params["ports"]):
        found.append(OpenClawError("mtls_http_port", "it is mtls_port as well", "Choose another one, or 0 for none."))
    known = [*params["clients"], params["probe"]]
    if params["rotate_client"] and params["rotate_client"] not in known:
        remedy = f"It is one of {', '.join(known)}."
        found.append(OpenClawError(f"rotate_client {params['rotate_client']}", "mtls_clients has no such name", remedy))
    for option, days in params["valid_days"].items():
        if int(days) <= params["renew_before_days"]:
            reason = f"mtls_renew_before_days is {params['renew_before_days']}, so every run would make it anew"
            remedy = f"Set {option} to more, or mtls_renew_before_days to less."
            found.append(OpenClawError(f"{option} {days}", reason, remedy))
    return found


def authority_findings(host: Host) -> list[OpenClawError]:
    """Why the authority cannot sign on this host, now."""
    given = host.params["authority"]
    found = [OpenClawError(*split(text)) for text in given["problems"]] if given else []
    if found or not host.authorities:
        return found
    signing = host.authorities[0]
    subject = f"The authority {signing.name}"
    if not signing.has_key:
        remedy = f"Put it back, or take {signing.name} away for another authority."
        found.append(OpenClawError(f"The key of the authority, {signing.key_name}", "it is not there", remedy))
    if signing.certificate.not_before > host.now:
        reason = f"it is valid from {_pki.day(signing.certificate.not_before)} on, and here it is {_pki.day(host.now)}"
        found.append(OpenClawError(subject, reason, "Set the host's clock, or give an authority that has begun."))
    if signing.certificate.not_after < host.now:
        reason = f"it expired {_pki.day(signing.certificate.not_after)}, and here it is {_pki.day(host.now)}"
        remedy = "Run rotate.yml -e rotate=mtls_ca; with mtls_ca_source inventory, give another one."
        if host.params["rotate"] != "ca":
            found.append(OpenClawError(subject, reason, remedy))
    if host.params["rotate"] == "ca" and not host.params["authority_made"]:
        reason = "mtls_ca_source is inventory, so it is not made here"
        remedy = "Give the new one as mtls_ca_certificate and mtls_ca_key, the old certificate in mtls_ca_former, and run site.yml."
        found.append(OpenClawError("rotate=mtls_ca", reason, remedy))
    elif host.params["rotate"] == "ca" and host.now < (until := host.overlap_ends()):
        # Only the one before signs for it, so clients that know only the one before that would not accept the server.
        made, ends = _pki.day(signing.certificate.not_before), _pki.day(until)
        reason = f"{signing.name} is from {made}, and clients of {host.authorities[1].name} go on until {ends}"
        remedy = "Run site.yml, which finishes a rotation that was broken off too, and rotate then; or refuse them now by mtls_ca_overlap_days 0."
        found.append(OpenClawError("rotate=mtls_ca", reason, remedy))
    return found


def split(text: str) -> tuple[str, str, str]:
    """The three parts of an error that was told elsewhere."""
    subject, _, rest = text.partition(": ")
    reason, _, remedy = rest.partition(". ")
    return subject, reason, remedy


def forgotten(host: Host) -> list[OpenClawError]:
    """Clients in neither list who are still let in."""
    params = host.params
    found = []
    for name in host.client_names():
        if name in (params["probe"], *params["clients"], *params["revoked"]):
            continue
        valid = [each.certificate.not_after for each in host.folders(f"clients/{name}") if each.certificate]
        if valid and max(valid) > host.now and host.current(f"clients/{name}"):
            reason = f"it is in neither list and is let in until {_pki.day(max(valid))}"
            found.append(OpenClawError(f"The client {name}", reason, "Add it to mtls_revoked to refuse it."))
    return found


def plan(host: Host) -> dict[str, t.Any]:
    """What the host has and what is due."""
    params = host.params
    due = params["authority_made"] and (not host.authorities or params["rotate"] == "ca")
    name = next_name(host.authorities) if due else host.authorities[0].name if host.authorities else ""
    issue = orders(host, due)
    known, cut = lists(host, revoked_serials(host, issue))
    subject = f"{params['authority_subject']} {name}"
    if due:
        known.insert(0, {"authority": name, "issuer": [{"CN": subject}], "keep": "", "revoked": []})
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(host.now))
    reissued = {order["of"] for order in issue}
    kinds = ["server", *(f"clients/{each}" for each in [params["probe"], *params["clients"]])]
    site = _host.read_text(params["site"])
    newly = [each for each in params["revoked"] if site and f'"{each}" 1;' not in site]
    trusted = host.trusted()
    # There from before the files that refuse somebody until nginx's former workers have ended, whichever run ends them.
    cutting = str(host.directory / "cutting")
    cut = cut or bool(newly) or os.path.exists(cutting)
    has_ipv6 = bool(_host.read_text("/proc/net/if_inet6").strip())
    files = params["files"] if has_ipv6 else [without_ipv6(entry) for entry in params["files"]]
    current = links(host, {kind: stamp if kind in reissued else host.current(kind) for kind in kinds})
    return {
        "asked": {each: params[each] for each in ASKED},
        "stamp": stamp,
        "installed": [
            each for each in params["packages"] if _host.package_version(_host.read_text("/var/lib/dpkg/status"), each)
        ],
        "nginx": nginx(host),
        "ipv6": has_ipv6,
        "authority": {"name": name, "subject": subject, "due": due},
        "former": [each.name for each in (trusted if due else trusted[1:]) if each.has_key],
        "trusted": [each.certificate.pem for each in trusted],
        # While clients of the former authority are let in, they have to accept the server too.
        "cross": trusted[0].cross if len(trusted) > 1 else "",
        "issue": issue,
        "folders": [
            {"path": str(host.directory / path), "state": "directory", "mode": "0700"}
            for order in issue
            for path in ([order["of"]] if order["kind"] == "client" else []) + [f"{order['of']}/{stamp}"]
        ],
        "links": current,
        "lists": known,
        # What is yet to be issued has another link, and a list that is yet to be signed no text.
        "files": _files.as_wished([*files, *current, *trust_files(host, trusted, known)]),
        "cut": cut,
        "remove": useless(host, issue) + ([cutting] if cut else []),
    }


def links(host: Host, current: t.Mapping[str, str]) -> list[dict[str, str]]:
    """What is in use, and for those who are refused nothing, as entries of file_set."""
    found = []
    for kind, folder in current.items():
        if kind != "server":
            found.append({"path": str(host.directory / kind), "state": "directory", "mode": "0700"})
        found.append({"path": str(host.directory / kind / "current"), "state": "link", "src": folder})
    for name in host.params["revoked"]:
        found.append({"path": str(host.directory / "clients" / name / "current"), "state": "absent"})
    return found


def without_ipv6(entry: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """An entry as the role writes it for a host without IPv6, where nginx would not start with such an address."""
    if entry.get("content") is None:
        return entry
    return {**entry, "content": re.sub(r"^ *listen \[::\].*\n", "", entry["content"], flags=re.MULTILINE)}


def trust_files(
    host: Host, trusted: t.Sequence[_pki.Authority], known: t.Sequence[t.Mapping[str, t.Any]]
) -> list[dict[str, str]]:
    """Whom nginx trusts and whom it refuses, as entries of file_set, where nothing is to be signed."""
    texts = {"authorities.pem": [each.certificate.pem for each in trusted], "crl.pem": [each["keep"] for each in known]}
    return [{"path": str(host.directory / name), "content": "".join(parts)} for name, parts in texts.items()]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path", "required": True},
            "site": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "address": {"type": "str", "required": True},
            "clients": {"type": "list", "elements": "str", "default": []},
            "revoked": {"type": "list", "elements": "str", "default": []},
            "probe": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "authority": {"type": "dict"},
            "authority_made": {"type": "bool", "required": True},
            "authority_subject": {"type": "str", "required": True},
            "passphrase": {"type": "str", "no_log": True},
            "overlap_days": {"type": "int", "required": True},
            "renew_before_days": {"type": "int", "required": True},
            "valid_days": {"type": "dict", "default": {}},
            "files": {"type": "list", "elements": "dict", "default": []},
            "rotate": {"type": "str", "choices": ["none", "server", "client", "ca"], "default": "none"},
            "rotate_client": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    host = Host(module.params, time.time())
    if module.params["state"] == "absent":
        installed = _host.package_version(_host.read_text("/var/lib/dpkg/status"), "nginx")
        asked = {each: module.params[each] for each in ASKED}
        module.exit_json(changed=False, asked=asked, nginx=nginx(host), installed=["nginx"] if installed else [])
    errors = [*host.errors, *argument_findings(module.params), *authority_findings(host), *port_findings(host)]
    if errors:
        module.fail_json(msg="\n".join(map(str, errors)))
    result = plan(host)
    for warning in [*host.warnings, *forgotten(host)]:
        module.warn(str(warning))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
