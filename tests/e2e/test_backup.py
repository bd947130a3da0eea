# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups to real servers (sftp, rest-server, S3), and the way back: onto the same host, a bare one, and out of an archive.

The tests follow one another on one host. Faults are told by what cron's unit says: no run of a play is needed for them.
"""

from __future__ import annotations

import json
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway

HOST, SERVERS, BARE = "backup-gateway", "backup-servers", "backup-bare"
INSTALL = lab.ROOT / "tests/fixtures/backup_servers/install.sh"
PASSWORD = "opens-the-backups-of-a-throw-away-host"
SERVER_PASSWORD, ACCESS, SECRET = "rest-password-of-the-lab", "access-key-of-the-lab", "secret-key-of-the-lab"
STATUS = "/etc/openclaw/main/health.d/backup.json"
ETC, FOLDER = "/etc/openclaw/main/backup", "/var/backups/openclaw/main"
NOTE = "/var/lib/openclaw/main/workspace/NOTE.md"


class Backups(t.NamedTuple):
    """A gateway, the servers that its backups go to, and the variables of both."""

    host: lab.Host
    servers: lab.Host
    folder: Path
    variables: dict[str, t.Any]

    def play(self, playbook: str, *words: str, host: str = HOST, **variables: t.Any) -> lab.Run:
        where = lab.inventory(self.folder, {host: {}}, **self.variables, **variables)
        return lab.play(playbook, where, *words)

    def run(self, kind: str = "state") -> tuple[int, dict[str, t.Any]]:
        """What cron's unit ends with, and what it has noted."""
        status, _, _ = self.host.execute(f"systemctl start openclaw-backup@{kind}.service")
        return status, json.loads(self.host.read(STATUS))

    def snapshots(self, name: str = "local") -> list[dict[str, t.Any]]:
        return json.loads(self.restic("snapshots --json", name)) or []

    def restic(self, words: str, name: str = "local") -> str:
        [remote] = [
            each for each in json.loads(self.host.read(f"{ETC}/backup.json"))["remotes"] if each["name"] == name
        ]
        variables = "".join(f"export {key}={value}\n" for key, value in remote["environment"].items())
        script = f"{variables}export RESTIC_REPOSITORY='{remote['url']}' RESTIC_PASSWORD_FILE={ETC}/password\nrestic {words}\n"
        return self.host.run("bash -e", stdin=script)


@pytest.fixture(scope="module")
def backups(
    start_shared_gateway: t.Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backups]:
    """A gateway without backups, and servers for them."""
    folder = tmp_path_factory.mktemp("backup")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    servers = lab.up({SERVERS: "debian12"})[SERVERS]
    try:
        arguments = {
            "password": SERVER_PASSWORD,
            "access_key": ACCESS,
            "secret_key": SECRET,
            "authorized_key": (folder / "key.pub").read_text(),
        }
        servers.run("mkdir -m 700 /root/backup-servers")
        for name, content in arguments.items():
            servers.run(f"cat > /root/backup-servers/{name}", stdin=content)
        servers.run("cat > /root/install.sh", stdin=INSTALL.read_text())
        servers.run(f"sh /root/install.sh {SERVERS}")
        known = f"{SERVERS} {servers.read('/etc/ssh/ssh_host_ed25519_key.pub')}"
        rest = f"http://gateway:{SERVER_PASSWORD}@{SERVERS}"
        variables = {
            "backup_state": "present",
            "backup_password": PASSWORD,
            # The tests say when.
            "backup_cron": "0 0 1 1 *",
            "backup_cron_full": "0 0 1 1 *",
            "backup_repositories": [
                {"name": "local", "url": "/srv/backup"},
                {"name": "append", "url": f"rest:{rest}:8000/gateway/", "append_only": True},
                {"name": "rest", "url": f"rest:{rest}:8001/gateway/"},
                {
                    "name": "sftp",
                    "url": f"sftp:backup@{SERVERS}:/repositories/gateway",
                    "ssh_key": (folder / "key").read_text(),
                    "ssh_known_hosts": known,
                },
                {
                    "name": "s3",
                    "url": f"s3:http://{SERVERS}:7070/backups",
                    "environment": {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET},
                },
            ],
        }
        yield Backups(start_shared_gateway(HOST).host, servers, folder, variables)
    finally:
        lab.down([SERVERS, BARE])


def test_the_first_backup_is_in_every_repository_and_no_secret_is_seen(backups: Backups) -> None:
    host = backups.host
    host.begin("sh", "-c", "while sleep 0.1; do ps axo args; done > /tmp/seen 2>&1")
    run = backups.play("site", "--diff", "-v", "--tags", "backup")
    assert run.status == 0, run.output
    status = json.loads(host.read(STATUS))
    assert {name: (row["error"], row["snapshots"]) for name, row in status["repositories"].items()} == dict.fromkeys(
        ("local", "append", "rest", "sftp", "s3"), ("", 1)
    )
    told = (
        run.output
        + host.read("/tmp/seen")
        + host.run("journalctl --no-pager")
        + host.run("systemctl cat openclaw-backup@")
    )
    for secret in (PASSWORD, SERVER_PASSWORD, SECRET, "PRIVATE KEY", host.token()):
        assert secret not in told
    assert "restic" in host.read("/tmp/seen")
    assert host.run(f"find {ETC} -type f -perm /077") == ""
    assert host.run(f"ls {FOLDER}").split() == ["cache", "lock", "plugins.json"]


def test_a_run_that_changes_nothing_says_so(backups: Backups) -> None:
    run = backups.play("site", "--tags", "backup")
    assert (run.status, run.changed(HOST)) == (0, 0), run.output


# ---- faults: each is told by message, nothing half-written stays, the next run succeeds by itself -------------


def test_a_backup_that_is_killed_half_way_leaves_nothing_and_the_next_one_succeeds(backups: Backups) -> None:
    host, before = backups.host, backups.snapshots()
    host.begin("systemctl", "start", "openclaw-backup@state.service")
    host.eventually(f"ls {FOLDER}/staging/data/payload")
    host.run("systemctl kill --signal=SIGKILL openclaw-backup@state.service")
    host.eventually("! systemctl is-active -q openclaw-backup@state.service")
    status, noted = backups.run()
    assert (status, noted["error"]) == (0, "")
    assert len(backups.snapshots()) == len(before) + 1
    assert host.run(f"ls {FOLDER}").split() == ["cache", "lock", "plugins.json"]
    assert host.serves()


def test_a_server_that_is_gone_is_told_of_and_the_others_have_the_backup(backups: Backups) -> None:
    before = backups.snapshots()
    backups.servers.run("systemctl stop rest-server")
    status, noted = backups.run()
    backups.servers.run("systemctl start rest-server")
    assert status != 0
    assert "repository append: the server does not answer" in noted["error"]
    assert (noted["repositories"]["local"]["error"], noted["repositories"]["rest"]["error"]) == ("", "")
    assert len(backups.snapshots()) == len(before) + 1
    # As old as in the repository that lacks it.
    assert noted["last_success"] < noted["repositories"]["local"]["last_success"]
    assert backups.run()[1]["error"] == ""


def test_a_disk_that_is_full_is_told_of_and_the_gateway_keeps_its_own(backups: Backups) -> None:
    host = backups.host
    host.run(f"mount -t tmpfs -o size=400m,mode=711 tmpfs {FOLDER}")
    status, noted = backups.run()
    host.run(f"umount {FOLDER}")
    assert status != 0
    assert "the disk: fewer than 512 MiB are free" in noted["error"]
    assert host.serves()
    assert backups.run()[1]["error"] == ""


# ---- the way back ---------------------------------------------------------------------------------------------


def test_data_that_was_lost_comes_back_and_the_gateway_proves_it(backups: Backups) -> None:
    host = backups.host
    host.run(f"cd / && openclaw config get gateway.port && echo kept > {NOTE} && chown openclaw: {NOTE}")
    assert backups.run("full")[1]["error"] == ""
    host.run(f"rm {NOTE} && rm -rf /var/lib/openclaw/main/state/agents")
    token = host.token()
    run = backups.play("restore")
    assert run.status == 0, run.output
    assert host.read(NOTE) == "kept\n"
    assert host.accepts(token)
    assert "RTO" in run.output
    assert "RPO" in run.output
    assert host.run("find /var/lib/openclaw -maxdepth 1 -name 'main.before-*'") != ""
    assert host.run("ls -d /var/lib/openclaw/.restore-main", check=False) == ""
