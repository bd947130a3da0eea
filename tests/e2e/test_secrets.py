# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing secret leaks: a first run, a rotation and failing runs, as loud as Ansible can be, and then a search.

In `make test` the first run is that of a host with a gateway that had none of these secrets, in `make test-all` that of a
bare one too.
Every secret begins with one mark, so that one search finds any of them, whatever quotes or encodes the rest.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import subprocess
import threading
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.clawops.openclaw.tests.e2e import lab

NAME = "e2e-secrets"
MARK = f"Zq{secrets.token_hex(9)}"
# A password of digits alone, which YAML makes a number.
NUMBER = secrets.randbelow(9 * 10**17) + 10**17
# Quotes, backslash and slash are what JSON, YAML, Python and a shell each write in their own way.
AWKWARD = '"quoted"\\back/slash+$HOME'
# What must be there only where a planted one is: shows that the search would find any other.
CANARY = f"{MARK}-CANARY-"
PLAIN_OWNERS = {
    lab.SETTINGS: "600 openclaw",
    f"{lab.SETTINGS}.previous": "600 openclaw",
    "/etc/openclaw/main/applied.json": "600 root",
}

# Runs on the host: every file but the release's own, with the place of each trace in it.
SEARCH = r"""
import json, mmap, os, pwd, re, stat
context = re.compile(rb"[\x20-\x7e]{0,40}")
spared = {"/proc", "/sys", "/dev", "/opt/openclaw/releases"}
for folder, names, files in os.walk("/"):
    names[:] = [name for name in names if os.path.join(folder, name) not in spared]
    for path in (os.path.join(folder, name) for name in files):
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            continue
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for trace in TRACES:
                place = content.find(trace.encode())
                if place >= 0:
                    owner = pwd.getpwuid(status.st_uid).pw_name
                    shown = context.match(content, place)[0].decode()
                    print(json.dumps([path, f"{stat.S_IMODE(status.st_mode):o} {owner}", shown]))
"""


def secret(label: str, tail: str = "") -> str:
    return f"{MARK}-{label}-{tail}"


TOKENS = [secret("TOKEN1"), secret("TOKEN2")]
API_KEYS = [secret("APIKEY1", AWKWARD), secret("APIKEY2", AWKWARD)]
WEBHOOK = secret("WEBHOOK", AWKWARD)
BOT_TOKENS = [secret("BOT1"), secret("BOT2")]


def encoded(text: str) -> list[str]:
    """The parts of base64 that are the same whatever surrounds a text, for each way it can be aligned."""
    parts = []
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + text.encode()).decode()
        parts.append(whole[(8 * shift + 5) // 6 : (len(text) + shift) * 8 // 6])
    return parts


TRACES = [MARK, *encoded(MARK), str(NUMBER)]


def traces_in(content: str | bytes) -> list[str]:
    """Whatever of the secrets is in something, with what surrounds it."""
    text = content.decode(errors="replace") if isinstance(content, bytes) else content
    return [f"…{text[max(place - 60, 0) : place + 60]}…" for each in TRACES if (place := text.find(each)) >= 0]


class Watcher:
    """Sees the arguments and the environment of every process of the machine: its hosts are containers."""

    def __init__(self) -> None:
        self.seen: dict[str, set[bytes]] = {"cmdline": set(), "environ": set()}
        self._born: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> t.Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        # A process that is young may still become another program; the old ones are looked at once a second.
        looked = 0.0
        while not self._over.wait(0.02):
            now = time.monotonic()
            everyone, looked = (True, now) if now - looked > 1 else (False, looked)
            for process in filter(str.isdecimal, os.listdir("/proc")):
                if everyone or now - self._born.setdefault(process, now) < 1:
                    self._look(process)

    def _look(self, process: str) -> None:
        for kind, seen in self.seen.items():
            # It may have ended meanwhile.
            with contextlib.suppress(OSError):
                seen.add(Path(f"/proc/{process}/{kind}").read_bytes())

    def commands(self) -> str:
        return "\n".join(each.replace(b"\0", b" ").decode(errors="replace") for each in self.seen["cmdline"])


class Affair(t.NamedTuple):
    """All that the runs left behind."""

    host: lab.Host
    # Whether the first run was the host's first.
    bare: bool
    runs: dict[str, lab.Run]
    watcher: Watcher
    # What was collected, by where it is from.
    evidence: dict[str, str]
    # Path, mode with owner, and text of every trace in a file of the host.
    files: list[tuple[str, str, str]]


def variables(token: str, api_key: str, bot_token: str) -> dict[str, t.Any]:
    """An inventory as an operator writes it, with one secret where none should be."""
    return {
        "gateway_token": token,
        "gateway_secrets": {"ANTHROPIC_API_KEY": api_key, "WEBHOOK": "{{ vault_webhook }}"},
        "gateway_settings": {
            "models": {
                "providers": {"anthropic": {"apiKey": "{{ 'ANTHROPIC_API_KEY' | clawops.openclaw.secret_ref }}"}}
            },
            "channels": {"telegram": {"enabled": False, "botToken": bot_token}},
        },
    }


# Runs that end in an error, each about something that holds a secret.
FAILURES: dict[str, dict[str, t.Any]] = {
    "a setting that the release refuses": {
        **variables(TOKENS[1], API_KEYS[1], secret("BAD1")),
        "gateway_settings_host": {
            "channels": {"telegram": {"enabled": "perhaps", "accounts": {"a": {"botToken": NUMBER}}}}
        },
    },
    "secrets of a wrong type": {"gateway_secrets": secret("BAD2", AWKWARD)},
    "a token of a wrong type": {"gateway_token": {"value": secret("BAD3")}},
    "a secret of a wrong type": {"gateway_secrets": {"ANTHROPIC_API_KEY": [secret("BAD4")]}},
    "a secret of a wrong name": {"gateway_secrets": {"not-a-name": secret("BAD5")}},
}


# A setting that is refused by the release, and what Ansible refuses by itself: in every run of the tests.
USUAL_FAILURES = ("a setting that the release refuses", "secrets of a wrong type")
HOSTS = [pytest.param("deployed", id="live"), pytest.param("debian12", id="bare", marks=pytest.mark.full)]


@pytest.fixture(scope="module", params=HOSTS)
def affair(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Affair]:
    """A first run, a rotation with a change, and runs that fail; then everything is collected."""
    image = request.getfixturevalue("deployed_image") if request.param == "deployed" else request.param
    failing = USUAL_FAILURES if request.param == "deployed" else tuple(FAILURES)
    folder = tmp_path_factory.mktemp("secrets")
    log, vault = (
        folder / "ansible.log",
        ["-e", f"@{vaulted(folder)}", "--vault-password-file", str(folder / "password")],
    )

    def site(**content: t.Any) -> lab.Run:
        where = lab.inventory(folder, {NAME: {}}, **content)
        loud = ["-vvv", "--diff", *vault]
        return lab.play("site", where, *loud, ANSIBLE_LOG_PATH=str(log), ANSIBLE_LOCAL_TEMP=str(folder / "local"))

    try:
        host = lab.up({NAME: image})[NAME]
        if request.param == "deployed":
            host.wait_until_serving()
        with Watcher() as watcher:
            runs = {"deployment": site(**variables(TOKENS[0], API_KEYS[0], BOT_TOKENS[0]))}
            assert runs["deployment"].status == 0, runs["deployment"].output
            runs["rotation"] = site(**variables(TOKENS[1], API_KEYS[1], BOT_TOKENS[1]))
            assert runs["rotation"].status == 0, runs["rotation"].output
            before = host.digest()
            runs |= {what: site(**FAILURES[what]) for what in failing}
            # What was refused was refused before anything was touched.
            assert host.digest() == before
            plant(host)
        evidence = {**evidence_of_host(host, runs), **evidence_of_controller(folder, log)}
        yield Affair(host, request.param != "deployed", runs, watcher, evidence, files_with_traces(host))
    finally:
        lab.down([NAME])


def vaulted(folder: Path) -> Path:
    """A vaulted file of variables, and the file with its password."""
    (folder / "password").write_text(secrets.token_hex(16))
    path = folder / "vault.yml"
    path.write_text(yaml.safe_dump({"vault_webhook": WEBHOOK}))
    password = ["--vault-password-file", str(folder / "password")]
    subprocess.run(["ansible-vault", "encrypt", *password, str(path)], check=True, capture_output=True, cwd=lab.ROOT)
    return path


def plant(host: lab.Host) -> None:
    """Leave a canary wherever a secret could leak to."""
    host.run("umask 022; cat > /var/tmp/planted", stdin=f"{CANARY}FILE\n")
    host.run("umask 022; base64 -w 0 > /var/log/planted", stdin=f"some text {CANARY}BASE64\n")
    host.run("umask 077; cat > /run/planted", stdin=json.dumps(f'"{CANARY}PRIVATE'))
    host.run("logger -f /var/tmp/planted")
    host.run("bash -c 'exec -a \"$(cat /var/tmp/planted)\" sleep 3'")
    host.run('env "PLANTED=$(cat /var/tmp/planted)" sleep 3')


def evidence_of_host(host: lab.Host, runs: t.Mapping[str, lab.Run]) -> dict[str, str]:
    return {
        **{f"output of {what}": run.output for what, run in runs.items()},
        "journal": host.run("journalctl --no-pager --all -o json"),
        "journal, as text": host.run("journalctl --no-pager --all -o cat"),
        "unit": host.run(f"systemctl cat {lab.UNIT}; systemctl show {lab.UNIT}"),
        "units": host.run("systemctl list-units --all --no-pager; systemctl show-environment"),
        "console": host.container.logs().decode(errors="replace"),
    }


def evidence_of_controller(folder: Path, log: Path) -> dict[str, str]:
    found = {"Ansible's own log": log.read_text()}
    for place in (folder / "local", Path.home() / ".ansible/tmp", Path.home() / ".ansible/facts"):
        # Not Path.rglob: a play of another test may take its own folder away meanwhile.
        for where, _, names in os.walk(place):
            for path in (path for name in names if (path := Path(where, name)).is_file()):
                with contextlib.suppress(FileNotFoundError):
                    found[str(path)] = path.read_text(errors="replace")
    found["facts"] = subprocess.run(
        ["ansible", "-i", str(folder / "hosts.yml"), NAME, "-b", "-m", "ansible.builtin.setup"],
        cwd=lab.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return found


def files_with_traces(host: lab.Host) -> list[tuple[str, str, str]]:
    found = host.run("python3 -", stdin=f"TRACES = {json.dumps(TRACES)}\n{SEARCH}")
    return [t.cast(tuple[str, str, str], tuple(json.loads(line))) for line in found.splitlines()]


def test_the_search_finds_a_planted_secret_wherever_one_could_be(affair: Affair) -> None:
    seen = {kind: [trace for each in found for trace in traces_in(each)] for kind, found in affair.watcher.seen.items()}
    assert [kind for kind, traces in seen.items() if not any(CANARY in trace for trace in traces)] == []
    assert CANARY in str(traces_in(affair.evidence["journal"]))
    # Base64 and a file for root alone are found as well.
    assert {path for path, _, _ in affair.files} >= {"/var/tmp/planted", "/var/log/planted", "/run/planted"}


def test_the_processes_of_controller_and_host_were_watched(affair: Affair) -> None:
    commands = affair.watcher.commands()
    for words in (
        "ansible-playbook -i",
        "ssh -",
        "sudo -H -S -n",
        "python3",
        "config validate",
        "gateway run",
    ):
        assert words in commands, words
    # The other way round it proves nothing: all processes of the machine are watched.
    assert "npm install" in commands or not affair.bare


def test_the_runs_did_what_they_were_made_for(affair: Affair) -> None:
    failing = [what for what in affair.runs if what in FAILURES]
    assert [what for what in failing if affair.runs[what].status == 0] == []
    assert set(failing) >= set(USUAL_FAILURES)
    assert affair.host.serves()
    assert affair.host.accepts(TOKENS[1])
    assert not affair.host.accepts(TOKENS[0])
    kept = json.loads(affair.host.read(lab.SECRETS))
    assert kept == {"OPENCLAW_GATEWAY_TOKEN": TOKENS[1], "ANTHROPIC_API_KEY": API_KEYS[1], "WEBHOOK": WEBHOOK}
    assert affair.host.settings()["channels"]["telegram"]["botToken"] == BOT_TOKENS[1]


def test_a_diff_shows_which_secrets_change_and_none_of_them(affair: Affair) -> None:
    output = affair.runs["rotation"].output
    for name in ("ANTHROPIC_API_KEY", "OPENCLAW_GATEWAY_TOKEN"):
        assert re.search(rf"^\+ +{name}: \(new value\)$", output, re.MULTILINE), output
    assert re.search(r"^ +botToken: '\*{8}'$", output, re.MULTILINE), output
    # Masked on both sides, the change shows by its path.
    assert re.search(r'"changed_keys": \[[^]]*"channels\.telegram\.botToken"', output), output
    assert "gateway_settings.channels.telegram.botToken holds a secret as plain text" in output


def test_no_output_holds_a_secret(affair: Affair) -> None:
    found = {what: traces_in(run.output) for what, run in affair.runs.items()}
    assert {what: traces for what, traces in found.items() if traces} == {}


@pytest.mark.parametrize("kind", ["cmdline", "environ"])
def test_no_process_was_given_a_secret(affair: Affair, kind: str) -> None:
    assert [found for each in affair.watcher.seen[kind] for found in traces_in(each) if CANARY not in found] == []


def test_neither_journal_nor_units_nor_facts_nor_leftovers_hold_a_secret(affair: Affair) -> None:
    found = {place: traces_in(content.replace(CANARY, "")) for place, content in affair.evidence.items()}
    assert {place: traces for place, traces in found.items() if traces} == {}


def test_secrets_rest_in_their_file_and_plain_ones_in_the_settings_and_nowhere_else(affair: Affair) -> None:
    # The journal holds a planted one, and was searched as text.
    files = [file for file in affair.files if not file[0].endswith(("/planted", ".journal"))]
    assert {(path, owner) for path, owner, _ in files if path not in PLAIN_OWNERS} == {(lab.SECRETS, "400 openclaw")}
    settings = [file for file in files if file[0] in PLAIN_OWNERS]
    assert settings
    assert [file for file in settings if file[1] != PLAIN_OWNERS[file[0]] or "-BOT" not in file[2]] == []
