# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups to real servers (sftp, rest-server, S3), and the way back: onto the same host, a bare one, and out of an archive.

The tests follow one another on one host. Faults are told by what cron's unit says: no run of a play is needed for them.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway
from ansible_collections.clawops.openclaw.tests.e2e.lab import assert_refused, message, squeezed

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
    assert "the disk: fewer than 512 MiB" in noted["error"]
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


# ---- more faults, and what the table in docs/backup.md says of each --------------------------------------------


class Fault(t.NamedTuple):
    """Something that goes wrong, what is said of it, and how it is mended."""

    script: str
    words: str
    mended: str = "true"
    kind: str = "state"
    # Whether it is broken on the servers' host.
    remote: bool = False


FAULTS = {
    "wrong-password": Fault(
        f"cp {ETC}/password /root/kept && echo another-password-of-nobody > {ETC}/password",
        "repository local: the password is wrong",
        f"cp /root/kept {ETC}/password",
    ),
    "repository-gone": Fault(
        "mv /srv/backup /srv/kept && mkdir /srv/backup",
        "repository local: there is no repository",
        "rmdir /srv/backup && mv /srv/kept /srv/backup",
    ),
    "repository-full": Fault(
        "mv /srv/backup /srv/whole && mkdir /srv/backup"
        " && mount -t tmpfs -o size=$(($(du -sk /srv/whole | cut -f1) + 300))k tmpfs /srv/backup && cp -a /srv/whole/. /srv/backup",
        "repository local: no space is left",
        "umount /srv/backup && rmdir /srv/backup && mv /srv/whole /srv/backup",
    ),
    "state-full": Fault(
        f"mount -t tmpfs -o size=32k,mode=711 tmpfs {FOLDER}", "openclaw backup create", f"umount {FOLDER}"
    ),
    "server-hangs": Fault(
        "systemctl kill --signal=STOP rest-server",
        "repository append: restic cat has not ended within 60 s",
        "systemctl kill --signal=CONT rest-server",
        remote=True,
    ),
    "credentials-refused": Fault(
        "cp /etc/backup-servers/htpasswd /root/kept && sed -i s/gateway/nobody/ /etc/backup-servers/htpasswd && systemctl restart rest-server",
        "repository append: the server refuses the credentials",
        "cp /root/kept /etc/backup-servers/htpasswd && chown rest-server /etc/backup-servers/htpasswd && systemctl restart rest-server",
        remote=True,
    ),
    "host-key-changed": Fault(
        "mv /etc/ssh/ssh_host_ed25519_key* /root && ssh-keygen -A && systemctl restart ssh",
        "repository sftp: the server refuses the credentials",
        "mv /root/ssh_host_ed25519_key* /etc/ssh && systemctl restart ssh",
        remote=True,
    ),
    "restic-gone": Fault(
        "mv /usr/bin/restic /root/restic", "restic: it is not installed", "mv /root/restic /usr/bin/restic"
    ),
    "node-gone": Fault("chmod 000 /usr/bin/node", "openclaw backup create", "chmod 755 /usr/bin/node"),
    "settings-torn": Fault(
        f"cp {lab.SETTINGS} /root/kept && echo '{{' > {lab.SETTINGS}",
        "openclaw backup create",
        f"cat /root/kept > {lab.SETTINGS}",
    ),
    "archive-too-large": Fault(
        f'cp {ETC}/backup.json /root/kept && sed -i \'s/"max_mb": 20480/"max_mb": 1/\' {ETC}/backup.json',
        "it holds more than 1 MiB",
        f"cp /root/kept {ETC}/backup.json",
    ),
    "pack-damaged": Fault(
        f'cp {ETC}/backup.json /root/kept && sed -i \'s/"check_parts": 28/"check_parts": 1/\' {ETC}/backup.json'
        " && cp -a /srv/backup /srv/whole; for pack in $(find /srv/backup/data -type f); do"
        " chmod u+w $pack && printf damaged | dd of=$pack conv=notrunc status=none; done",
        "repository local: the repository is damaged",
        f"rm -rf /srv/backup && mv /srv/whole /srv/backup && cp /root/kept {ETC}/backup.json",
        kind="full",
    ),
}


def proof(backups: Backups, snapshot: str) -> str:
    """The checksums of what a snapshot holds, read from the repository."""
    return backups.restic(f"dump {snapshot} {FOLDER}/staging/sha256sums")


@pytest.mark.full
@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_is_told_and_what_was_confirmed_stays(backups: Backups, name: str) -> None:
    fault, host = FAULTS[name], backups.host
    assert backups.run()[1]["error"] == ""
    confirmed = backups.snapshots()[-1]["id"]
    before = proof(backups, confirmed)
    broken = backups.servers if fault.remote else host
    broken.run(fault.script)
    try:
        status, noted = backups.run(fault.kind)
    finally:
        broken.run(fault.mended)
    assert status != 0
    assert fault.words in noted["error"], noted["error"]
    assert host.serves()
    assert host.run(f"ls {FOLDER}").split() == ["cache", "lock", "plugins.json"]
    assert backups.run()[1]["error"] == ""
    assert proof(backups, confirmed) == before


@pytest.mark.full
def test_two_runs_at_once_follow_one_another(backups: Backups) -> None:
    before = len(backups.snapshots())
    backups.host.begin("systemctl", "start", "openclaw-backup@full.service")
    backups.host.run("systemctl start openclaw-backup@state.service")
    # What runs once is "activating" until it has ended.
    running = "systemctl show -p ActiveState --value openclaw-backup@full.service"
    backups.host.eventually(f"test $({running}) != activating", seconds=300)
    assert len(backups.snapshots()) == before + 2


@pytest.mark.full
def test_a_backup_while_everything_is_being_written_is_whole(backups: Backups) -> None:
    host = backups.host
    media = "/var/lib/openclaw/main/state/media"
    host.run(
        "cat > /root/writing.sh",
        stdin=f"while sleep 0.02; do head -c 100k /dev/urandom > {media}/busy-$((i++ % 40)); rm -f {media}/busy-$((i % 40)); done\n",
    )
    host.begin("sh", "-c", "exec setpriv --reuid openclaw --regid openclaw --clear-groups bash /root/writing.sh")
    try:
        status, noted = backups.run()
    finally:
        host.run(f"pkill -f writing.sh; rm -f {media}/busy-*", check=False)
    assert (status, noted["error"]) == (0, "")
    # Every file of it is what its checksum says.
    host.run("rm -rf /root/whole")
    backups.restic("restore latest --target /root/whole")
    assert "FAILED" not in host.run(f"cd /root/whole{FOLDER}/staging && sha256sum --quiet -c sha256sums 2>&1")
    host.run("rm -rf /root/whole")


@pytest.mark.full
def test_a_restore_whose_controller_dies_after_the_exchange_is_put_back_by_the_next(backups: Backups) -> None:
    host = backups.host
    assert backups.run("full")[1]["repositories"]["local"]["error"] == ""
    program = "python3 -I -B /opt/openclaw/main/backup --json --instance main"
    note = host.read(NOTE)
    host.run(f"echo newer > {NOTE}")
    host.run(f"{program} fetch && systemctl stop {lab.UNIT} && {program} place")
    assert host.read(NOTE) == note
    run = backups.play("site", "--tags", "backup")
    assert_refused(run, ("a restore was interrupted after it had exchanged the data", "Run restore.yml again"))
    # What was put back is what the next restore puts aside.
    run = backups.play("restore")
    assert run.status == 0, run.output
    assert host.read(NOTE) == note
    assert host.run("cat $(ls -d /var/lib/openclaw/main.before-* | tail -n 1)/workspace/NOTE.md") == "newer\n"


@pytest.mark.full
@pytest.mark.parametrize("seconds", [2, 6, 9, 11])
def test_a_kill_at_any_time_leaves_backups_that_go_on(backups: Backups, seconds: int) -> None:
    backups.host.begin("systemctl", "start", "openclaw-backup@full.service")
    time.sleep(seconds)
    backups.host.run("systemctl kill --signal=SIGKILL openclaw-backup@full.service", check=False)
    backups.host.eventually("! systemctl is-active -q openclaw-backup@full.service")
    assert backups.run("full")[1]["repositories"]["local"]["error"] == ""
    assert "no errors were found" in backups.restic("check --read-data 2>&1")


# ---- drill, bare host, archive, and a restore that fails --------------------------------------------------------


@pytest.mark.full
def test_a_drill_proves_the_newest_snapshot_and_leaves_nothing(backups: Backups) -> None:
    host = backups.host
    process = host.process()
    run = backups.play("restore", "-e", "restore_drill=true")
    assert run.status == 0, run.output
    drill = json.loads(host.read(STATUS))["drill"]
    assert (drill["error"], drill["snapshot"]) == ("", backups.snapshots()[-1]["id"])
    assert f"RTO {drill['rto_seconds']} s, RPO {drill['rpo_seconds']} s" in run.output.replace("\n        ", " ")
    assert host.process() == process
    assert host.run(f"ls {FOLDER}").split() == ["cache", "lock", "plugins.json"]
    assert host.run("pgrep -fc 'index.js gateway ru[n]'").strip() == "1"


@pytest.mark.full
def test_a_restore_that_the_gateway_does_not_take_is_put_back(backups: Backups) -> None:
    host = backups.host
    settings = host.read(lab.SETTINGS)
    host.write(lab.SETTINGS, json.dumps({**json.loads(settings), "session": {"idleMinutes": 60}}))
    assert backups.run()[1]["repositories"]["local"]["error"] == ""
    host.write(lab.SETTINGS, settings)
    run = backups.play("restore")
    assert run.status != 0
    said = squeezed(message(run) + run.output)
    assert "session.idleMinutes" in said
    assert squeezed("The former data was put back, and the gateway is healthy") in said
    assert host.read(lab.SETTINGS) == settings
    assert host.serves()
    assert host.run("ls -d /var/lib/openclaw/.restore-main", check=False) == ""


@pytest.mark.full
def test_what_cannot_be_restored_is_refused_and_nothing_is_touched(backups: Backups) -> None:
    for words, told in (
        (("-e", "restore_snapshot=yesterday"), "restore_snapshot yesterday: it is neither"),
        (("-e", "restore_from=nobody"), "it has no snapshot of nobody"),
        (("-e", "restore_repository=none"), "there is none of this name"),
    ):
        process = backups.host.process()
        run = backups.play("restore", *words)
        assert_refused(run, (told,))
        assert backups.host.process() == process


@pytest.mark.full
def test_a_bare_host_becomes_the_gateway_with_its_token_and_its_data(backups: Backups) -> None:
    assert backups.run("full")[1]["repositories"]["rest"]["error"] == ""
    bare = lab.up({BARE: "debian12"})[BARE]
    rest = [each for each in backups.variables["backup_repositories"] if each["name"] == "rest"]
    moved = backups._replace(variables={**backups.variables, "backup_repositories": rest})
    run = moved.play("restore", "-e", f"restore_from={HOST}", host=BARE)
    assert run.status == 0, run.output
    assert bare.read(NOTE) == backups.host.read(NOTE)
    assert bare.token() == backups.host.token()
    assert bare.accepts(backups.host.token())
    # The backup that a restore ends with goes on by itself.
    bare.eventually(f"test -e {STATUS}", seconds=120)
    again = moved.play("site", host=BARE)
    assert (again.status, again.changed(BARE)) == (0, 0), again.output


@pytest.mark.full
def test_an_archive_of_a_laptop_becomes_the_gateways_data(backups: Backups, tmp_path: Path) -> None:
    host = backups.host
    host.run(
        "rm -rf /tmp/ann && mkdir -p /tmp/ann/.openclaw/workspace && echo from-the-laptop > /tmp/ann/.openclaw/workspace/AGENTS.md"
        ' && echo \'{"logging": {"consoleLevel": "warn"}}\' > /tmp/ann/.openclaw/openclaw.json && chown -R openclaw /tmp/ann'
        " && cd /tmp/ann && setpriv --reuid openclaw --clear-groups env -i PATH=$PATH HOME=/tmp/ann OPENCLAW_HOME=/tmp/ann"
        " node /opt/openclaw/main/current/node_modules/openclaw/openclaw.mjs backup create --output /tmp/ann/made.tar.gz"
    )
    archive = tmp_path / "made.tar.gz"
    archive.write_bytes(base64.b64decode(host.run("base64 /tmp/ann/made.tar.gz")))
    token = host.token()
    run = backups.play("restore", "-e", f"restore_archive={archive}")
    assert run.status == 0, run.output
    assert host.read("/var/lib/openclaw/main/workspace/AGENTS.md") == "from-the-laptop\n"
    assert host.settings()["logging"]["consoleLevel"] == "warn"
    assert host.accepts(token)
    assert backups.play("site", "--tags", "gateway").changed(HOST) == 0


@pytest.mark.full
def test_another_password_opens_every_repository_and_the_old_one_none(backups: Backups) -> None:
    host = backups.host
    new = "another-password-of-a-throw-away-host"
    again = backups.play("rotate", "-e", "rotate=backup_password")
    assert_refused(again, ("backup_password: the inventory gives the one that opens the repositories now",))
    given = {**backups.variables, "backup_password": new}
    refused = backups._replace(variables=given).play("site", "--tags", "backup")
    assert_refused(refused, ("backup_password: it is not the one that opens the repositories now",))
    run = backups._replace(variables=given).play("rotate", "-e", "rotate=backup_password")
    # The one that is append-only keeps the old key, and the play says so.
    assert run.status != 0
    said = squeezed(run.output)
    assert squeezed("the new one is in use, but the old one still opens append") in said
    assert (new in run.output, PASSWORD in run.output) == (False, False)
    host.write("/root/old", PASSWORD)
    for name in ("local", "rest", "sftp", "s3"):
        assert "wrong password" in backups.restic("cat config 2>&1 --password-file /root/old || true", name)
        assert backups.restic("snapshots", name) != ""
    assert backups.run()[1]["error"] == ""
