# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An openclaw.json that is torn, emptied or nonsense: health.yml says so, site.yml repairs it and says what that saves."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway
from ansible_collections.clawops.openclaw.tests.e2e.lab import message, squeezed

pytestmark = pytest.mark.full

HOST = "repair"
# The host's own keys, of which the inventory says nothing.
THEIRS = {"session": {"dmScope": "main"}, "logging": {"redactPatterns": ["mine"]}}
REMEDY = "Run site.yml: it repairs the file from what was applied last"


def site(gateway: Gateway, **variables: t.Any) -> lab.Run:
    where = lab.inventory(gateway.where.parent, {gateway.host.name: {}}, **variables)
    run = lab.play("site", where)
    assert run.status == 0, run.output
    return run


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    """A gateway with keys of the host's own, written as no program of ours writes them, which a run has seen."""
    started: Gateway = start_shared_gateway(HOST)
    settings = started.host.settings()
    settings["logging"] |= THEIRS["logging"]
    started.host.write(lab.SETTINGS, json.dumps({**settings, "session": THEIRS["session"]}, indent=1))
    site(started)
    return started


def edit(words: str) -> str:
    """A shell command that changes the settings as a person would, in place."""
    return f"""python3 -c 'import json; s = json.load(open("'$f'")); {words}; json.dump(s, open("'$f'", "w"))'"""


NONSENSE = edit(
    's["nonsense"] = {"a": 1}; s["gateway"]["port"] = "abc"; s["logging"] = "loud"; s["session"]["bogus"] = 1'
)


@pytest.mark.parametrize(
    ("damage", "restarted", "reason", "keys"),
    [
        pytest.param(
            "truncate -s $(($(stat -c %s $f) / 2)) $f",
            False,
            "JSON5: invalid",
            "saved logging.redactPatterns, session.dmScope; with their former value none; not saved none",
            id="torn",
        ),
        pytest.param(
            NONSENSE,
            False,
            "session.bogus: Unrecognized key",
            "saved ;session.dmScope;logging.redactPatterns;with their former value none; not saved session.bogus, nonsense.a",
            id="nonsense",
        ),
        pytest.param(
            "rm $f; mkdir $f",
            False,
            "it is not a plain file",
            "saved logging.redactPatterns, session.dmScope",
            id="directory",
        ),
        pytest.param(
            "truncate -s 0 $f", True, "", "saved logging.redactPatterns, session.dmScope", id="emptied-and-down"
        ),
        pytest.param(
            "rm $f", True, "is missing", "saved logging.redactPatterns, session.dmScope", id="missing-and-down"
        ),
    ],
)
def test_broken_settings_are_told_and_repaired(
    gateway: Gateway, damage: str, restarted: bool, reason: str, keys: str
) -> None:
    host = gateway.host
    whole, process = host.read(lab.SETTINGS), host.process()
    host.run(f"rm -rf {lab.SETTINGS}.unreadable-*; f={lab.SETTINGS}; {damage}; [ ! -e $f ] || chown openclaw: $f")
    broken = host.run(f"sha256sum <{lab.SETTINGS}", check=False)
    if restarted:
        host.run(f"systemctl restart {lab.UNIT}", check=False)

    told = lab.play("health", gateway.where)
    assert (told.status == 0) is not restarted, told.output
    assert squeezed(f"The next start will fail. {lab.SETTINGS}") in squeezed(told.output), told.output
    assert squeezed(REMEDY) in squeezed(told.output), told.output
    assert squeezed(reason) in squeezed(told.output), told.output

    run = site(gateway)
    warning = message(run, "WARNING")
    assert squeezed("It is repaired from what was applied last") in warning, run.output
    for part in keys.split(";"):
        assert squeezed(part) in warning, run.output
    assert host.read(lab.SETTINGS) == whole
    assert host.run(f"stat -c '%U %a %F' {lab.SETTINGS}") == "openclaw 600 regular file\n"
    assert host.serves()
    if not restarted:
        assert host.process() == process
    kept = host.run(f"ls -d {lab.SETTINGS}.unreadable-*", check=False).split()
    assert len(kept) == (0 if reason == "is missing" else 1)
    if kept and broken:
        assert host.run(f"sha256sum <{kept[0]}", check=False) == broken

    assert site(gateway).changed(HOST) == 0
    assert "healthy" in lab.play("health", gateway.where).output


def test_what_openclaw_itself_has_changed_since_the_last_run_is_saved(gateway: Gateway) -> None:
    host = gateway.host
    writable: dict[str, t.Any] = {"gateway_settings_readonly": False}
    site(gateway, **writable)
    host.run("cd / && openclaw config set session.dmScope per-peer")
    host.eventually(f"grep -q per-peer {lab.SETTINGS}.last-good")
    host.run(f"truncate -s 100 {lab.SETTINGS}")
    run = site(gateway, **writable)
    assert squeezed(f"It is repaired from {lab.SETTINGS}.last-good") in message(run, "WARNING"), run.output
    assert host.settings()["session"] == {"dmScope": "per-peer"}
    assert host.settings()["logging"]["redactPatterns"] == ["mine"]
    assert host.serves()
