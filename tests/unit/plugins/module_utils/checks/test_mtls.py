# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is due on a host so that its mTLS proxy is as desired, and what prevents it."""

from __future__ import annotations

import datetime
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _pki, _preflight
from ansible_collections.clawops.openclaw.plugins.module_utils._checks import _mtls_nginx
from ansible_collections.clawops.openclaw.tests.unit.plugins.module_utils.test_pki import DAY, Made

Look = Callable[..., dict[str, Any]]
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class Seen(_host.Host):
    """The real host, but for its packages, sockets and processes."""

    def __init__(self, system: dict[str, str]) -> None:
        super().__init__()
        self.system = system
        self._units = {}

    def text(self, path: str) -> str:
        ours = path.startswith(("/proc/net", "/var/lib/dpkg"))
        return self.system.get(path, "" if ours else super().text(path))


class Machine:
    """A directory that stands for a host with an mTLS proxy; what a test is about is changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory, self.site = root / "mtls", root / "nginx/conf.d/openclaw-main.conf"
        self.health_file = root / "health.d/mtls.json"
        self.site.parent.mkdir(parents=True)
        self.system = {"/var/lib/dpkg/status": "Package: nginx\nStatus: install ok installed\nVersion: 1.22\n\n"}

    def put(self, path: str, text: str) -> Path:
        below = self.directory / path
        below.parent.mkdir(parents=True, exist_ok=True)
        below.write_text(text)
        return below

    def ca(self, name: str = "ca-1", begins: datetime.datetime = NOW - 9 * DAY, days: int = 3650) -> Made:
        made = Made(f"OpenClaw vps1 {name}", is_ca=True, begins=begins, days=days)
        self.put(f"ca/{name}.pem", made.pem)
        self.put(f"ca/{name}.key", made.key_pem())
        return made

    def issued(self, of: str, by: Made, *, days: int = 300, stamp: str = "1", names: tuple[str, ...] = ()) -> Made:
        made = Made(os.path.basename(of), by, begins=NOW - DAY, days=days, names=names)
        self.put(f"{of}/{stamp}/cert.pem", made.pem)
        self.put(f"{of}/{stamp}/key.pem", made.key_pem())
        self.put(f"{of}/{stamp}/bundle.p12", "bundle")
        current = self.directory / of / "current"
        current.unlink(missing_ok=True)
        current.symlink_to(stamp)
        return made

    def whole(self) -> Made:
        """An mTLS proxy as it is after a run."""
        by = self.ca()
        self.issued("server", by, names=("vps1",))
        for name in ("health", "alice"):
            self.issued(f"clients/{name}", by)
        self.put("crl.pem", by.crl(ends=NOW + 100 * DAY))
        self.site.write_text("listen 443 ssl;\n")
        return by

    def tree(self) -> dict[str, Any]:
        return {
            str(path): os.readlink(path) if path.is_symlink() else path.is_dir() or path.read_bytes()
            for path in self.root.rglob("*")
        }


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Refused(Exception):
    """What cannot work."""


@pytest.fixture
def warnings() -> list[str]:
    """What the last look warned of."""
    return []


@pytest.fixture
def look(host: Machine, warnings: list[str]) -> Look:
    """What the check finds, and what is due, as one."""

    def run(**changes: Any) -> dict[str, Any]:
        usual = {
            "state": "present",
            "directory": str(host.directory),
            "site": str(host.site),
            "health_file": str(host.health_file),
            "names": ["vps1"],
            "address": "vps1",
            "clients": ["alice"],
            "probe": "health",
            "ports": [443, 80],
            "packages": ["nginx"],
            "ca_create": True,
            "ca_subject": "OpenClaw vps1",
            "overlap_days": 30,
            "renew_before_days": 30,
        }
        before = host.tree()
        answer = _preflight.run({"mtls": usual | changes}, Seen(host.system))
        assert host.tree() == before
        warnings[:] = answer.warnings
        if answer.errors:
            raise Refused("\n".join(answer.errors))
        found = answer.found["mtls"]
        assert not {"phases", "health"} & found.keys()
        return {**found, **found["due"]}

    return run


def refusal(look: Look, **changes: Any) -> str:
    """What it refuses, in words; empty where it refuses nothing."""
    try:
        look(**changes)
    except Refused as told:
        return str(told)
    return ""


def in_sync(host: Machine, look: Look) -> Made:
    """A host on which nothing is due but that nginx does not run."""
    by = host.whole()
    host.put("ca.pem", by.pem)
    for entry in look()["links"]:
        os.chmod(entry["path"], 0o700)
    return by


def due(result: dict[str, Any]) -> dict[str, str]:
    return {order["of"]: order["reason"] for order in result["certificates"]}


def test_on_a_bare_host_everything_is_due(host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    host.system = {}
    monkeypatch.setattr(_pki, "HAS_CRYPTOGRAPHY", False)
    result = look()
    assert set(due(result)) == {"server", "clients/health", "clients/alice"}
    assert result["ca"] == {"name": "ca-1", "subject": "OpenClaw vps1 ca-1", "create": True}
    assert [(each["ca"], each["keep"]) for each in result["lists"]] == [("ca-1", "")]
    assert (result["installed"], result["trusted"], result["obsolete"], result["disconnect"]) == ([], [], [], False)
    assert (result["phases"], result["health"]) == (["install", "issue", "configure"], True)
    assert result["nginx"] == {"running": False, "stale": False, "ours": True, "shared": False}


def test_on_a_host_in_sync_nothing_is_due(host: Machine, look: Look) -> None:
    by = host.whole()
    result = look()
    assert (due(result), result["ca"]["create"], result["obsolete"], result["disconnect"]) == ({}, False, [], False)
    assert result["trusted"] == [by.pem]
    assert result["lists"][0]["keep"]
    assert {
        entry["path"].removeprefix(f"{host.directory}/"): entry["src"]
        for entry in result["links"]
        if entry["state"] == "link"
    } == {
        "server/current": "1",
        "clients/health/current": "1",
        "clients/alice/current": "1",
    }


SITE = "listen 443 ssl;\n"


def running(monkeypatch: pytest.MonkeyPatch, stale: bool = False) -> None:
    state = {"running": True, "stale": stale, "ours": True, "shared": False}
    monkeypatch.setattr(_mtls_nginx, "look", lambda *_: state)


def rewrite_list(host: Machine, by: Made) -> None:
    host.put("crl.pem", by.crl(ends=NOW + DAY))


@pytest.mark.parametrize(
    ("changes", "change", "phases"),
    [
        pytest.param({}, None, [], id="nothing"),
        pytest.param({"packages": ["nginx", "x"]}, None, ["install", "issue", "configure"], id="a-package-is-missing"),
        pytest.param({"rotate": "server"}, None, ["issue", "configure"], id="a-certificate-is-to-be-issued"),
        pytest.param({"rotate": "ca"}, None, ["issue", "configure"], id="a-ca-is-to-be-created"),
        pytest.param({}, rewrite_list, ["issue", "configure"], id="a-list-is-to-be-signed"),
        pytest.param(
            {}, lambda host, by: host.site.write_text("listen 444 ssl;\n"), ["configure"], id="the-site-is-another-one"
        ),
        pytest.param({}, lambda host, by: host.put("ca.pem", ""), ["configure"], id="nginx-trusts-another-ca"),
        pytest.param(
            {}, lambda host, by: os.chmod(host.directory / "clients/alice", 0o500), ["configure"], id="another-mode"
        ),
        pytest.param(
            {}, lambda host, by: host.put("disconnecting", ""), ["configure"], id="a-client-is-still-connected"
        ),
        pytest.param({"revoked": ["carol"]}, None, ["configure"], id="a-name-is-to-be-refused"),
        pytest.param(
            {}, lambda host, by: host.put("server/0/cert.pem", "x"), ["configure"], id="something-is-obsolete"
        ),
    ],
)
def test_only_phases_with_something_to_do_are_due(
    host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], change: Any, phases: list[str]
) -> None:
    by = in_sync(host, look)
    running(monkeypatch)
    if change:
        change(host, by)
    result = look(**{"files": [{"path": str(host.site), "content": SITE}], **changes})
    assert (result["phases"], result["health"]) == (phases, bool(phases))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        pytest.param({"running": True, "stale": False}, False, id="it-runs"),
        pytest.param({"running": False, "stale": False}, True, id="it-does-not-run"),
        pytest.param({"running": True, "stale": True}, True, id="it-runs-with-older-files"),
    ],
)
def test_nginx_is_told_where_it_does_not_run_with_what_there_is(
    host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch, state: dict[str, bool], told: bool
) -> None:
    in_sync(host, look)
    monkeypatch.setattr(_mtls_nginx, "look", lambda *_: {"ours": True, "shared": False, **state})
    result = look()
    assert (result["reload"], result["phases"]) == (told, ["configure"] if told else [])


@pytest.mark.parametrize(
    ("addresses", "lines", "same"),
    [
        pytest.param("", "    listen 443 ssl;\n", True, id="a-host-without-ipv6-has-no-such-line"),
        pytest.param("", "    listen 443 ssl;\n    listen [::]:443 ssl;\n", False, id="and-is-to-lose-one"),
        pytest.param(
            "fe80 02 40 20 80 eth0\n", "    listen 443 ssl;\n    listen [::]:443 ssl;\n", True, id="one-with-it-has"
        ),
        pytest.param("fe80 02 40 20 80 eth0\n", "    listen 443 ssl;\n", False, id="and-is-to-get-it"),
    ],
)
def test_the_site_is_compared_as_this_host_can_have_it(
    host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch, addresses: str, lines: str, same: bool
) -> None:
    in_sync(host, look)
    running(monkeypatch)
    host.system["/proc/net/if_inet6"] = addresses
    host.site.write_text(f"server {{\n{lines}}}\n")
    site = {"path": str(host.site), "content": "server {\n    listen 443 ssl;\n    listen [::]:443 ssl;\n}\n"}
    assert (look(files=[site])["phases"] == []) is same


@pytest.mark.parametrize(
    ("change", "of", "words"),
    [
        pytest.param(
            lambda host, by: host.issued("server", by, days=30, names=("vps1",)),
            "server",
            "28 days are left",
            id="few-days",
        ),
        pytest.param(lambda host, by: host.issued("server", by), "server", "other names", id="no-names"),
        pytest.param(
            lambda host, by: host.issued("server", by, names=("vps1", "x")), "server", "other names", id="more-names"
        ),
        pytest.param(
            lambda host, by: host.issued("clients/alice", Made("Else", is_ca=True)),
            "clients/alice",
            "another CA",
            id="foreign",
        ),
        pytest.param(
            lambda host, by: host.put("clients/alice/1/key.pem", Made("x").key_pem()),
            "clients/alice",
            "does not belong",
            id="key-of-another",
        ),
        pytest.param(
            lambda host, by: host.put("clients/alice/1/key.pem", ""), "clients/alice", "does not belong", id="no-key"
        ),
        pytest.param(lambda host, by: host.put("server/1/cert.pem", "x"), "server", "there is none", id="broken"),
        pytest.param(
            lambda host, by: (host.directory / "server/current").unlink(), "server", "there is none", id="no-link"
        ),
        pytest.param(
            lambda host, by: (host.directory / "clients/alice/1/bundle.p12").unlink(),
            "clients/alice",
            "bundle is missing",
            id="no-bundle",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_issued_and_no_other(
    host: Machine, look: Look, change: Any, of: str, words: str
) -> None:
    change(host, host.whole())
    found = due(look())
    assert list(found) == [of]
    assert words in found[of]


def test_what_is_superseded_goes_but_for_certificates_that_could_still_be_revoked(host: Machine, look: Look) -> None:
    by = host.whole()
    host.issued("clients/alice", by, stamp="2")
    host.issued("server", by, stamp="2", names=("vps1",))
    host.put("clients/alice/0/cert.pem", Made("alice", by, begins=NOW - 9 * DAY, days=1).pem)
    gone = [path.removeprefix(f"{host.directory}/") for path in look()["obsolete"]]
    assert gone == ["server/1", "clients/alice/0", "clients/alice/1/key.pem", "clients/alice/1/bundle.p12"]


def test_every_certificate_of_a_revoked_name_is_revoked_and_its_keys_go(host: Machine, look: Look) -> None:
    by = host.whole()
    host.put("crl.pem", by.crl(77, ends=NOW + 100 * DAY))
    made = [host.issued("clients/bob", by, stamp=stamp) for stamp in ("1", "2")]
    result = look(revoked=["bob"])
    (found,) = result["lists"]
    serials = {int(each["serial_number"].replace(":", ""), 16) for each in found["revoked"]}
    assert serials == {77, *(each.certificate.serial_number for each in made)}
    assert (found["keep"], result["disconnect"]) == ("", True)
    assert {entry["path"].rpartition("mtls/")[2] for entry in result["links"] if entry["state"] == "absent"} == {
        "clients/bob/current"
    }
    assert {path.rpartition("mtls/")[2] for path in result["obsolete"]} == {
        "disconnecting",
        *(f"clients/bob/{stamp}/{file}" for stamp in "12" for file in ("key.pem", "bundle.p12")),
    }


def test_a_client_that_is_revoked_already_is_not_disconnected_again(host: Machine, look: Look) -> None:
    by = host.whole()
    made = host.issued("clients/bob", by)
    host.put("crl.pem", by.crl(made.certificate.serial_number, ends=NOW + 100 * DAY))
    host.site.write_text('listen 443 ssl;\n    "bob" 1;\n')
    result = look(revoked=["bob"])
    assert result["disconnect"] is False
    assert result["lists"][0]["keep"]


def test_a_name_that_is_refused_for_the_first_time_is_disconnected(host: Machine, look: Look) -> None:
    host.whole()
    assert look(revoked=["carol"])["disconnect"] is True


@pytest.mark.parametrize("ends", [NOW - DAY, NOW + 29 * DAY])
def test_a_revocation_list_is_renewed_in_time(host: Machine, look: Look, ends: datetime.datetime) -> None:
    host.put("crl.pem", host.whole().crl(5, ends=ends))
    (found,) = look()["lists"]
    assert (found["keep"], [each["serial_number"] for each in found["revoked"]]) == ("", ["05"])


def test_a_client_that_an_interrupted_run_refused_is_still_to_be_disconnected(host: Machine, look: Look) -> None:
    host.whole()
    marker = host.put("disconnecting", "")
    result = look()
    assert (result["disconnect"], result["obsolete"]) == (True, [str(marker)])


def test_a_revocation_list_of_another_ca_is_none(host: Machine, look: Look) -> None:
    host.whole()
    host.put("crl.pem", Made("OpenClaw vps1 ca-1", is_ca=True).crl(5))
    (found,) = look()["lists"]
    assert (found["keep"], found["revoked"]) == ("", [])


def test_a_rotated_client_is_issued_again_and_its_old_certificate_revoked(host: Machine, look: Look) -> None:
    host.whole()
    result = look(rotate="client", rotate_client="alice")
    assert due(result) == {"clients/alice": "it is rotated"}
    assert len(result["lists"][0]["revoked"]) == 1
    assert result["disconnect"] is True
    assert set(due(look(rotate="client"))) == {"clients/alice", "clients/health"}
    assert set(due(look(rotate="server"))) == {"server"}


def test_a_client_that_is_due_while_another_is_rotated_is_renewed_and_not_revoked(host: Machine, look: Look) -> None:
    by = host.whole()
    host.issued("clients/bob", by, days=9)
    result = look(clients=["alice", "bob"], rotate="client", rotate_client="alice")
    assert set(due(result)) == {"clients/alice", "clients/bob"}
    assert len(result["lists"][0]["revoked"]) == 1


def test_a_rotated_ca_has_another_name_and_the_previous_one_stays_trusted(host: Machine, look: Look) -> None:
    by = host.whole()
    result = look(rotate="ca")
    assert result["ca"] == {"name": "ca-2", "subject": "OpenClaw vps1 ca-2", "create": True}
    assert (result["previous"], result["trusted"]) == (["ca-1"], [by.pem])
    assert set(due(result)) == {"server", "clients/health", "clients/alice"}
    assert [(each["ca"], bool(each["keep"])) for each in result["lists"]] == [("ca-2", False), ("ca-1", True)]


@pytest.mark.parametrize(("days_ago", "trusted"), [(29, ["ca-2", "ca-1"]), (31, ["ca-2"])])
def test_a_previous_ca_is_trusted_until_the_overlap_is_over(
    host: Machine, look: Look, days_ago: int, trusted: list[str]
) -> None:
    host.ca("ca-1", begins=NOW - 90 * DAY)
    host.ca("ca-2", begins=NOW - days_ago * DAY)
    host.put("ca/ca-2.cross", "crossed")
    result = look()
    assert [each["ca"] for each in result["lists"]] == trusted
    over = trusted == ["ca-2"]
    assert {path.rpartition("/")[2] for path in result["obsolete"]} == ({"ca-1.key", "ca-1.pem"} if over else set())
    assert result["cross"] == ("" if over else "crossed")


def elsewhere(*made: Made, problems: tuple[str, ...] = ()) -> dict[str, Any]:
    found = [
        {
            "name": f"ca-{number}",
            "certificate": each.pem,
            "has_key": number == 0,
            "key_name": "mtls_ca_key",
            "cross": "",
        }
        for number, each in enumerate(made)
    ]
    return {
        "cas": {"cas": found, "problems": list(problems)},
        "ca_create": False,
        "overlap_days": -1,
    }


def test_a_ca_is_not_rotated_again_while_clients_of_the_previous_one_are_let_in(host: Machine, look: Look) -> None:
    host.whole()
    host.ca("ca-2", begins=NOW - DAY)
    made, ends = f"{NOW - DAY:%Y-%m-%d %H:%M} UTC", f"{NOW + 29 * DAY:%Y-%m-%d %H:%M} UTC"
    assert refusal(look, rotate="ca").startswith(
        f"rotate=mtls_ca: ca-2 is from {made}, and clients of ca-1 are let in until {ends}. Run site.yml"
    )
    assert look(rotate="ca", overlap_days=0)["ca"]["name"] == "ca-3"


@pytest.mark.parametrize(
    ("days", "words"), [(30, "mtls_crl_days 30: mtls_renew_before_days is 30, so every"), (31, "")]
)
def test_what_every_run_would_renew_is_refused(host: Machine, look: Look, days: int, words: str) -> None:
    host.whole()
    told = refusal(look, valid_days={"mtls_crl_days": days, "mtls_server_days": 397})
    assert told.startswith(words)
    assert bool(told) is bool(words)


def test_with_a_ca_of_the_inventory_the_server_keeps_the_certificate_of_a_previous_one(
    host: Machine, look: Look
) -> None:
    previous = host.whole()
    signing = Made("New", is_ca=True, begins=NOW - DAY)
    result = look(**elsewhere(signing, previous))
    assert set(due(result)) == {"clients/health", "clients/alice"}
    # The key of the previous one is not there: its list stays as it is.
    assert [bool(each["keep"]) for each in result["lists"]] == [False, True]
    assert set(due(look(**elsewhere(signing)))) == {"server", "clients/health", "clients/alice"}


def test_a_previous_ca_without_a_list_is_warned_of(host: Machine, look: Look, warnings: list[str]) -> None:
    previous = host.whole()
    (host.directory / "crl.pem").unlink()
    result = look(**elsewhere(Made("New", is_ca=True, begins=NOW - DAY), previous))
    assert [each["ca"] for each in result["lists"]] == ["ca-0"]
    assert "nginx refuses its clients" in str(warnings)


def test_a_client_in_neither_list_is_warned_of(host: Machine, look: Look, warnings: list[str]) -> None:
    host.issued("clients/bob", host.whole())
    look(revoked=["bob"])
    assert warnings == []
    look()
    assert "The client bob: it is in neither list" in str(warnings)


LISTEN = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n"
)


@pytest.mark.parametrize("table", ["/proc/net/tcp", "/proc/net/tcp6"])
@pytest.mark.parametrize(("port", "option"), [(443, "mtls_port 443"), (80, "mtls_http_port 80")])
def test_a_port_that_is_taken_is_refused_and_its_owner_named(
    host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch, table: str, port: int, option: str
) -> None:
    host.system["/proc/net/tcp"] = LISTEN.splitlines()[0] + "\n"
    host.system[table] = LISTEN.format(address="0" * (8 if table.endswith("tcp") else 32), port=port)
    host.system["/proc/4712/cgroup"] = "0::/system.slice/apache2.service\n"
    monkeypatch.setattr(_host, "owner_of", lambda inode: (4712, "apache2"))
    assert f"{option}: apache2 (process 4712, apache2.service) listens on it" in refusal(look)
    monkeypatch.setattr(_host, "owner_of", lambda inode: (4712, "nginx"))
    assert refusal(look) == ""


def test_a_port_of_the_unit_is_its_own_without_a_look_at_every_process(
    host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.system["/proc/net/tcp"] = LISTEN.format(address="0" * 8, port=443)
    monkeypatch.setattr(_host.Host, "processes_of", lambda self, unit: [4713] if unit == "nginx.service" else [])
    monkeypatch.setattr(_mtls_nginx, "sockets_of", lambda pid: {"4711"} if pid == 4713 else set())
    monkeypatch.setattr(_host, "owner_of", lambda inode: pytest.fail("it was looked for"))
    assert refusal(look) == ""


def test_the_sockets_of_a_process_are_known_by_their_inodes() -> None:
    with socket.socket() as ours:
        inode = os.readlink(f"/proc/self/fd/{ours.fileno()}").removeprefix("socket:[").removesuffix("]")
        assert inode in _mtls_nginx.sockets_of(os.getpid())
    assert _mtls_nginx.sockets_of(0) == set()


def test_a_port_of_another_gateways_mtls_proxy_is_refused(host: Machine, look: Look) -> None:
    host.site.with_name("openclaw-second.conf").write_text("    listen 443 ssl;\n")
    assert "mtls_port 443: the mTLS proxy of another gateway has it" in refusal(look, ports=[443])
    assert refusal(look, ports=[44]) == ""


@pytest.mark.parametrize(
    ("listen", "refused"),
    [
        ("listen 443 ssl default_server;", True),
        ("listen\t[::]:443 default_server ssl;", True),
        ("listen 443 ssl;", False),
        ("# listen 443 ssl default_server;", False),
        ("listen 8443 ssl default_server;", False),
        ("listen 80 default_server;", False),
        ("listen 192.0.2.1:443 ssl default_server;", False),
        ("listen 443 ssl; listen 80 default_server;", False),
    ],
)
def test_a_default_server_of_another_site_on_our_port_is_refused(
    host: Machine, look: Look, listen: str, refused: bool
) -> None:
    theirs = host.site.parent.with_name("sites-enabled") / "theirs"
    theirs.parent.mkdir()
    theirs.write_text(f"server {{\n    {listen}\n}}\n")
    told = refusal(look)
    assert told.startswith(f"mtls_port 443: {theirs} has the default server there") is refused, told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"names": ["other"]}, "mtls_names: the certificate would not carry vps1", id="address-missing"),
        pytest.param({"names": ["vps1", "a b"]}, "mtls_names: a b", id="name"),
        pytest.param({"clients": ["a/b"]}, "mtls_clients: a/b", id="client"),
        pytest.param({"revoked": ["health"]}, "the host's own client has this name", id="reserved"),
        pytest.param({"revoked": ["alice"]}, "mtls_revoked has the same name", id="both"),
        pytest.param(
            {"clients": ["alice", "bob", "alice"]}, "mtls_clients: alice: the name is there twice", id="twice"
        ),
        pytest.param({"ports": [443, 443]}, "it is mtls_port as well", id="ports"),
        pytest.param({"rotate": "client", "rotate_client": "carol"}, "Give one of alice, health", id="rotate-whom"),
        pytest.param(
            elsewhere(problems=("mtls_ca_key: it is broken. Repair it.",)),
            "mtls_ca_key: it is broken. Repair it.",
            id="elsewhere",
        ),
        pytest.param(elsewhere(Made("Later", is_ca=True, begins=NOW + DAY)), "it is valid from", id="not-yet"),
        pytest.param(elsewhere(Made("Over", is_ca=True, begins=NOW - 9 * DAY, days=1)), "it expired", id="expired"),
        pytest.param(
            {**elsewhere(Made("Ours", is_ca=True, begins=NOW - DAY)), "rotate": "ca"},
            "mtls_ca_previous",
            id="rotate-inventory",
        ),
    ],
)
def test_what_cannot_work_is_refused(look: Look, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(look, **changes)


def test_a_ca_of_the_host_without_its_key_is_refused_and_not_created_again(host: Machine, look: Look) -> None:
    host.whole()
    (host.directory / "ca/ca-1.key").unlink()
    assert "ca-1.key: it is not there" in refusal(look)


def test_every_finding_is_told_at_once(look: Look) -> None:
    assert len(refusal(look, names=["other"], clients=["a/b"], ports=[443, 443]).splitlines()) == 3


@pytest.mark.parametrize("there", [False, True])
def test_an_mtls_proxy_that_is_to_go_is_not_refused(host: Machine, look: Look, there: bool) -> None:
    host.whole()
    if there:
        host.health_file.parent.mkdir()
        host.health_file.touch()
    result = look(state="absent", names=["other"], clients=["a/b"])
    assert (result["installed"], result["phases"], result["health"]) == (["nginx"], ["remove"], there)


@pytest.mark.parametrize(
    ("installed", "ours", "shared", "goes"),
    [
        (True, True, False, True),
        (True, True, True, False),
        (True, False, False, False),
        (False, True, False, False),
    ],
)
def test_nginx_goes_with_the_last_mtls_proxy_if_it_came_with_the_first_and_serves_nothing_else(
    host: Machine,
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    installed: bool,
    ours: bool,
    shared: bool,
    goes: bool,
) -> None:
    marker = tmp_path / "marker"
    monkeypatch.setattr(_mtls_nginx, "MARKER", str(marker))
    if ours:
        marker.touch()
    if not installed:
        host.system = {}
    if shared:
        host.site.with_name("theirs.conf").touch()
    assert look(state="absent")["remove_nginx"] is goes


def test_what_the_gateway_needs_is_told_of_one_that_is_to_be_there(look: Look) -> None:
    needed = {"gateway": {"trustedProxies": ["127.0.0.1"]}}
    assert look(gateway_settings=needed)["gateway_settings"] == needed
    assert "gateway_settings" not in look(state="absent", gateway_settings=needed)


def test_every_certificate_and_key_is_parsed_once(host: Machine, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    by = host.whole()
    host.put("crl.pem", by.crl(ends=NOW + 100 * DAY))
    parsed: list[bytes] = []

    def count(function: Any) -> Any:
        def counted(text: bytes, *words: Any) -> Any:
            parsed.append(text)
            return function(text, *words)

        return counted

    for name in ("load_pem_x509_certificate", "load_pem_x509_crl"):
        monkeypatch.setattr(x509, name, count(getattr(x509, name)))
    monkeypatch.setattr(serialization, "load_pem_private_key", count(serialization.load_pem_private_key))
    look(revoked=["bob"])
    assert len(parsed) == 9  # certificate and key of the CA, the server and two clients, and one list
    assert len(set(parsed)) == 9


def test_the_passphrase_is_in_no_answer(host: Machine, look: Look) -> None:
    host.whole()
    assert "open-sesame" not in str(look(passphrase="open-sesame"))
    assert "open-sesame" not in refusal(look, passphrase="open-sesame", names=["open-sesame"])


def test_the_list_that_is_kept_is_the_one_that_is_there(host: Machine, look: Look) -> None:
    by = host.whole()
    text = by.crl(9, ends=NOW + 100 * DAY)
    host.put("crl.pem", text)
    kept = look()["lists"][0]["keep"]
    assert kept == text
    assert x509.load_pem_x509_crl(kept.encode())[0].serial_number == 9


# ---- an nginx of the operator's --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "included"),
    [
        pytest.param("http {\n  include conf.d/*.conf;\n}\n", None, id="relative"),
        pytest.param("http {\n  include {etc}/conf.d/*.conf;\n}\n", None, id="absolute"),
        pytest.param('http { }\ninclude "more/*.inc";\n', "include conf.d/*.conf;\n", id="by-another-file"),
        pytest.param("", None, id="no-file-yet"),
    ],
)
def test_an_nginx_that_reads_the_place_of_our_file_is_fine(
    host: Machine, look: Look, main: str, included: str | None
) -> None:
    host.whole()
    etc = host.site.parent.parent
    (etc / "nginx.conf").write_text(main.replace("{etc}", str(etc)))
    if included:
        (etc / "more").mkdir()
        (etc / "more/a.inc").write_text(included)
    look()


@pytest.mark.parametrize(
    "main",
    [
        pytest.param("http {\n  include sites/*;\n}\n", id="another-place"),
        pytest.param("http {\n  # include conf.d/*.conf;\n}\n", id="in-a-comment"),
        pytest.param("http {\n  include nginx.conf;\n}\n", id="itself"),
    ],
)
def test_an_nginx_that_does_not_read_it_is_refused(host: Machine, look: Look, main: str) -> None:
    host.whole()
    folder = host.site.parent
    (folder.parent / "nginx.conf").write_text(main)
    with pytest.raises(Refused, match=re.escape(f"nginx.conf: it includes no file of {folder}")) as refused:
        look()
    assert f"Add 'include {folder}/*.conf;' to its http block." in str(refused.value)
