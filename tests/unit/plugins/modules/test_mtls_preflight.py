# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is due on a host so that its door is as wished, and what keeps it from being so."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from cryptography import x509

from ansible_collections.clawops.openclaw.plugins.module_utils import _host, _pki
from ansible_collections.clawops.openclaw.plugins.modules import mtls_preflight
from ansible_collections.clawops.openclaw.tests.unit.plugins.module_utils.test_pki import DAY, Made

Look = Callable[..., dict[str, Any]]
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class Host:
    """A directory that stands for a host with a door; what a test is about is changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory, self.site = root / "mtls", root / "nginx/conf.d/openclaw-main.conf"
        self.site.parent.mkdir(parents=True)
        self.system = {"/var/lib/dpkg/status": "Package: nginx\nStatus: install ok installed\nVersion: 1.22\n\n"}

    def put(self, path: str, text: str) -> Path:
        below = self.directory / path
        below.parent.mkdir(parents=True, exist_ok=True)
        below.write_text(text)
        return below

    def authority(self, name: str = "ca-1", begins: datetime.datetime = NOW - 9 * DAY, days: int = 3650) -> Made:
        made = Made(f"OpenClaw vps1 {name}", is_authority=True, begins=begins, days=days)
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
        """A door as it is after a run."""
        by = self.authority()
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
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(_host, "main_process", lambda unit: 0)
    read = _host.read_text
    ours = ("/proc/net", "/var/lib/dpkg")
    monkeypatch.setattr(
        _host, "read_text", lambda path: host.system.get(path, "" if path.startswith(ours) else read(path))
    )
    return host


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module warns of. Ansible's own collection outlives a call, and tells each only once."""
    told: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, warning, **_: told.append(warning))
    return told


@pytest.fixture
def look(host: Host, run_module: Any) -> Look:
    def run(**changes: Any) -> dict[str, Any]:
        usual = {
            "directory": str(host.directory),
            "site": str(host.site),
            "names": ["vps1"],
            "address": "vps1",
            "clients": ["alice"],
            "probe": "health",
            "ports": [443, 80],
            "packages": ["nginx", "python3-cryptography"],
            "authority_made": True,
            "authority_subject": "OpenClaw vps1",
            "overlap_days": 30,
            "renew_before_days": 30,
        }
        before = host.tree()
        result: dict[str, Any] = run_module(mtls_preflight.main, **(usual | changes))
        assert host.tree() == before
        return result

    return run


def due(result: dict[str, Any]) -> dict[str, str]:
    return {order["of"]: order["reason"] for order in result["issue"]}


def test_on_a_bare_host_everything_is_due(host: Host, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    host.system = {}
    monkeypatch.setattr(_pki, "HAS_CRYPTOGRAPHY", False)
    result = look()
    assert set(due(result)) == {"server", "clients/health", "clients/alice"}
    assert result["authority"] == {"name": "ca-1", "subject": "OpenClaw vps1 ca-1", "due": True}
    assert [(each["authority"], each["keep"]) for each in result["lists"]] == [("ca-1", "")]
    assert (result["installed"], result["trusted"], result["remove"], result["cut"]) == ([], [], [], False)
    assert result["nginx"] == {"running": False, "stale": False, "ours": True, "shared": False}


def test_on_a_host_that_is_as_wished_nothing_is_due(host: Host, look: Look) -> None:
    by = host.whole()
    result = look()
    assert (due(result), result["authority"]["due"], result["remove"], result["cut"]) == ({}, False, [], False)
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


def test_whether_there_is_a_file_to_write_is_told(host: Host, look: Look) -> None:
    by = host.whole()
    site = {"path": str(host.site), "content": "listen 443 ssl;\n"}
    found = [look()["files"]]
    host.put("authorities.pem", by.pem)
    for entry in look()["links"]:
        os.chmod(entry["path"], 0o700)
    found += [look()["files"], look(files=[site])["files"]]
    found += [look(files=[{**site, "content": "listen 444 ssl;\n"}])["files"], look(rotate="server")["files"]]
    host.put("crl.pem", by.crl(ends=NOW + DAY))
    found.append(look()["files"])
    assert found == [False, True, True, False, False, False]


@pytest.mark.parametrize(
    ("addresses", "lines", "wished"),
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
    host: Host, look: Look, addresses: str, lines: str, wished: bool
) -> None:
    by = host.whole()
    host.put("authorities.pem", by.pem)
    for entry in look()["links"]:
        os.chmod(entry["path"], 0o700)
    host.system["/proc/net/if_inet6"] = addresses
    host.site.write_text(f"server {{\n{lines}}}\n")
    site = {"path": str(host.site), "content": "server {\n    listen 443 ssl;\n    listen [::]:443 ssl;\n}\n"}
    assert look(files=[site])["files"] is wished


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
            lambda host, by: host.issued("clients/alice", Made("Else", is_authority=True)),
            "clients/alice",
            "another authority",
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
def test_a_certificate_that_does_not_hold_is_issued_and_no_other(
    host: Host, look: Look, change: Any, of: str, words: str
) -> None:
    change(host, host.whole())
    found = due(look())
    assert list(found) == [of]
    assert words in found[of]


def test_what_is_superseded_goes_but_for_certificates_that_could_still_be_revoked(host: Host, look: Look) -> None:
    by = host.whole()
    host.issued("clients/alice", by, stamp="2")
    host.issued("server", by, stamp="2", names=("vps1",))
    host.put("clients/alice/0/cert.pem", Made("alice", by, begins=NOW - 9 * DAY, days=1).pem)
    gone = [path.removeprefix(f"{host.directory}/") for path in look()["remove"]]
    assert gone == ["server/1", "clients/alice/0", "clients/alice/1/key.pem", "clients/alice/1/bundle.p12"]


def test_every_certificate_of_a_revoked_name_is_revoked_and_its_keys_go(host: Host, look: Look) -> None:
    by = host.whole()
    host.put("crl.pem", by.crl(77, ends=NOW + 100 * DAY))
    made = [host.issued("clients/bob", by, stamp=stamp) for stamp in ("1", "2")]
    result = look(revoked=["bob"])
    (found,) = result["lists"]
    serials = {int(each["serial_number"].replace(":", ""), 16) for each in found["revoked"]}
    assert serials == {77, *(each.certificate.serial_number for each in made)}
    assert (found["keep"], result["cut"]) == ("", True)
    assert {entry["path"].rpartition("mtls/")[2] for entry in result["links"] if entry["state"] == "absent"} == {
        "clients/bob/current"
    }
    assert {path.rpartition("mtls/")[2] for path in result["remove"]} == {
        "cutting",
        *(f"clients/bob/{stamp}/{file}" for stamp in "12" for file in ("key.pem", "bundle.p12")),
    }


def test_whoever_is_revoked_already_cuts_nobody_off_again(host: Host, look: Look) -> None:
    by = host.whole()
    made = host.issued("clients/bob", by)
    host.put("crl.pem", by.crl(made.certificate.serial_number, ends=NOW + 100 * DAY))
    host.site.write_text('listen 443 ssl;\n    "bob" 1;\n')
    result = look(revoked=["bob"])
    assert result["cut"] is False
    assert result["lists"][0]["keep"]


def test_a_name_that_is_refused_anew_cuts_off_who_has_it(host: Host, look: Look) -> None:
    host.whole()
    assert look(revoked=["carol"])["cut"] is True


@pytest.mark.parametrize("ends", [NOW - DAY, NOW + 29 * DAY])
def test_a_revocation_list_is_renewed_in_time(host: Host, look: Look, ends: datetime.datetime) -> None:
    host.put("crl.pem", host.whole().crl(5, ends=ends))
    (found,) = look()["lists"]
    assert (found["keep"], [each["serial_number"] for each in found["revoked"]]) == ("", ["05"])


def test_whoever_a_run_refused_before_it_was_broken_off_is_still_to_be_cut_off(host: Host, look: Look) -> None:
    host.whole()
    marker = host.put("cutting", "")
    result = look()
    assert (result["cut"], result["remove"]) == (True, [str(marker)])


def test_a_revocation_list_of_somebody_else_is_none(host: Host, look: Look) -> None:
    host.whole()
    host.put("crl.pem", Made("OpenClaw vps1 ca-1", is_authority=True).crl(5))
    (found,) = look()["lists"]
    assert (found["keep"], found["revoked"]) == ("", [])


def test_a_rotated_client_is_issued_anew_and_its_former_certificate_revoked(host: Host, look: Look) -> None:
    host.whole()
    result = look(rotate="client", rotate_client="alice")
    assert due(result) == {"clients/alice": "it is rotated"}
    assert len(result["lists"][0]["revoked"]) == 1
    assert result["cut"] is True
    assert set(due(look(rotate="client"))) == {"clients/alice", "clients/health"}
    assert set(due(look(rotate="server"))) == {"server"}


def test_a_client_that_is_due_while_another_is_rotated_is_renewed_and_not_revoked(host: Host, look: Look) -> None:
    by = host.whole()
    host.issued("clients/bob", by, days=9)
    result = look(clients=["alice", "bob"], rotate="client", rotate_client="alice")
    assert set(due(result)) == {"clients/alice", "clients/bob"}
    assert len(result["lists"][0]["revoked"]) == 1


def test_a_rotated_authority_has_another_name_and_the_former_one_stays_trusted(host: Host, look: Look) -> None:
    by = host.whole()
    result = look(rotate="ca")
    assert result["authority"] == {"name": "ca-2", "subject": "OpenClaw vps1 ca-2", "due": True}
    assert (result["former"], result["trusted"]) == (["ca-1"], [by.pem])
    assert set(due(result)) == {"server", "clients/health", "clients/alice"}
    assert [(each["authority"], bool(each["keep"])) for each in result["lists"]] == [("ca-2", False), ("ca-1", True)]


@pytest.mark.parametrize(("days_ago", "trusted"), [(29, ["ca-2", "ca-1"]), (31, ["ca-2"])])
def test_a_former_authority_is_trusted_until_the_overlap_is_over(
    host: Host, look: Look, days_ago: int, trusted: list[str]
) -> None:
    host.authority("ca-1", begins=NOW - 90 * DAY)
    host.authority("ca-2", begins=NOW - days_ago * DAY)
    host.put("ca/ca-2.cross", "crossed")
    result = look()
    assert [each["authority"] for each in result["lists"]] == trusted
    over = trusted == ["ca-2"]
    assert {path.rpartition("/")[2] for path in result["remove"]} == ({"ca-1.key", "ca-1.pem"} if over else set())
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
        "authority": {"authorities": found, "problems": list(problems)},
        "authority_made": False,
        "overlap_days": -1,
    }


def test_an_authority_is_not_rotated_again_while_clients_of_the_former_one_are_let_in(host: Host, look: Look) -> None:
    host.whole()
    host.authority("ca-2", begins=NOW - DAY)
    told = look(rotate="ca")
    assert told["failed"]
    made, ends = f"{NOW - DAY:%Y-%m-%d %H:%M} UTC", f"{NOW + 29 * DAY:%Y-%m-%d %H:%M} UTC"
    assert told["msg"].startswith(
        f"rotate=mtls_ca: ca-2 is from {made}, and clients of ca-1 go on until {ends}. Run site.yml"
    )
    assert look(rotate="ca", overlap_days=0)["authority"]["name"] == "ca-3"


@pytest.mark.parametrize(("days", "refused"), [(30, True), (31, False)])
def test_what_every_run_would_make_anew_is_refused(host: Host, look: Look, days: int, refused: bool) -> None:
    host.whole()
    told = look(valid_days={"mtls_crl_days": days, "mtls_server_days": 397})
    assert told.get("failed", False) == refused
    if refused:
        assert told["msg"].startswith(
            "mtls_crl_days 30: mtls_renew_before_days is 30, so every run would make it anew."
        )


def test_with_an_inventorys_authority_the_server_keeps_the_certificate_of_a_former_one(host: Host, look: Look) -> None:
    former = host.whole()
    signing = Made("New", is_authority=True, begins=NOW - DAY)
    result = look(**elsewhere(signing, former))
    assert set(due(result)) == {"clients/health", "clients/alice"}
    # The former one's key is not there: its list is the one that it left.
    assert [bool(each["keep"]) for each in result["lists"]] == [False, True]
    assert set(due(look(**elsewhere(signing)))) == {"server", "clients/health", "clients/alice"}


def test_a_former_authority_without_a_list_is_warned_of(host: Host, look: Look, warnings: list[str]) -> None:
    former = host.whole()
    (host.directory / "crl.pem").unlink()
    result = look(**elsewhere(Made("New", is_authority=True, begins=NOW - DAY), former))
    assert [each["authority"] for each in result["lists"]] == ["ca-0"]
    assert "nginx refuses its clients" in str(warnings)


def test_a_client_in_neither_list_is_warned_of(host: Host, look: Look, warnings: list[str]) -> None:
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
    host: Host, look: Look, monkeypatch: pytest.MonkeyPatch, table: str, port: int, option: str
) -> None:
    host.system["/proc/net/tcp"] = LISTEN.splitlines()[0] + "\n"
    host.system[table] = LISTEN.format(address="0" * (8 if table.endswith("tcp") else 32), port=port)
    host.system["/proc/4712/cgroup"] = "0::/system.slice/apache2.service\n"
    monkeypatch.setattr(_host, "owner_of", lambda inode: (4712, "apache2"))
    assert f"{option}: apache2 (process 4712, apache2.service) listens on it" in look()["msg"]
    monkeypatch.setattr(_host, "owner_of", lambda inode: (4712, "nginx"))
    assert "msg" not in look()


def test_a_port_of_another_gateways_door_is_refused(host: Host, look: Look) -> None:
    host.site.with_name("openclaw-second.conf").write_text("    listen 443 ssl;\n")
    assert "mtls_port 443: another gateway's door has it" in look(ports=[443])["msg"]
    assert "msg" not in look(ports=[44])


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
def test_a_default_server_of_somebody_elses_on_the_doors_port_is_refused(
    host: Host, look: Look, listen: str, refused: bool
) -> None:
    theirs = host.site.parent.with_name("sites-enabled") / "theirs"
    theirs.parent.mkdir()
    theirs.write_text(f"server {{\n    {listen}\n}}\n")
    told = look().get("msg", "")
    assert told.startswith(f"mtls_port 443: {theirs} has the default server there") is refused, told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"names": ["other"]}, "mtls_names: the certificate would not carry vps1", id="address-missing"),
        pytest.param({"names": ["vps1", "a b"]}, "mtls_names: a b", id="name"),
        pytest.param({"clients": ["a/b"]}, "mtls_clients: a/b", id="client"),
        pytest.param({"revoked": ["health"]}, "the host itself is called so", id="reserved"),
        pytest.param({"revoked": ["alice"]}, "mtls_revoked has the same name", id="both"),
        pytest.param(
            {"clients": ["alice", "bob", "alice"]}, "mtls_clients: alice: the name is there twice", id="twice"
        ),
        pytest.param({"ports": [443, 443]}, "it is mtls_port as well", id="ports"),
        pytest.param({"rotate": "client", "rotate_client": "carol"}, "It is one of alice, health", id="rotate-whom"),
        pytest.param(
            elsewhere(problems=("mtls_ca_key: it is broken. Mend it.",)),
            "mtls_ca_key: it is broken. Mend it.",
            id="elsewhere",
        ),
        pytest.param(elsewhere(Made("Later", is_authority=True, begins=NOW + DAY)), "it is valid from", id="not-yet"),
        pytest.param(
            elsewhere(Made("Over", is_authority=True, begins=NOW - 9 * DAY, days=1)), "it expired", id="expired"
        ),
        pytest.param(
            {**elsewhere(Made("Ours", is_authority=True, begins=NOW - DAY)), "rotate": "ca"},
            "mtls_ca_former",
            id="rotate-inventory",
        ),
    ],
)
def test_what_cannot_work_is_refused(look: Look, changes: dict[str, Any], words: str) -> None:
    result = look(**changes)
    assert result["failed"]
    assert words in result["msg"]


def test_an_authority_of_the_host_without_its_key_is_refused_and_not_made_anew(host: Host, look: Look) -> None:
    host.whole()
    (host.directory / "ca/ca-1.key").unlink()
    assert "ca-1.key: it is not there" in look()["msg"]


def test_every_finding_is_told_at_once(look: Look) -> None:
    message = look(names=["other"], clients=["a/b"], ports=[443, 443])["msg"]
    assert len(message.splitlines()) == 3


def test_a_door_that_is_to_go_is_not_refused(host: Host, look: Look) -> None:
    host.whole()
    result = look(state="absent", names=["other"], clients=["a/b"])
    assert (result["installed"], result["asked"]["state"]) == (["nginx"], "absent")


def test_the_passphrase_is_in_no_answer(host: Host, look: Look) -> None:
    host.whole()
    assert "open-sesame" not in str(look(passphrase="open-sesame"))


def test_the_list_that_is_kept_is_the_one_that_is_there(host: Host, look: Look) -> None:
    by = host.whole()
    text = by.crl(9, ends=NOW + 100 * DAY)
    host.put("crl.pem", text)
    kept = look()["lists"][0]["keep"]
    assert kept == text
    assert x509.load_pem_x509_crl(kept.encode())[0].serial_number == 9
