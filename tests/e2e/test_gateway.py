# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a gateway in four runs: what it takes hot, what restarts it, what it refuses, and another one beside it.

The tests follow one another on one host. What is rarer stands in test_operations.py, test_bad_input.py and test_faults.py.
"""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway

HOST, SECOND = "gateway-first", "gateway-second"
TOKEN = "t" + "0123456789abcdef" * 4
OURS = {"logging": {"consoleLevel": "warn"}}
TRUSTED = {"gateway": {"trustedProxies": ["127.0.0.1"]}}
MOVED = 18790


class Change(t.NamedTuple):
    """A run, and the process and the token before it."""

    run: lab.Run
    process: int
    token: str


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    return start_shared_gateway(HOST)


def change(gateway: Gateway, **variables: t.Any) -> Change:
    """Run site.yml with these variables."""
    before = gateway.host.process(), gateway.host.token()
    where = lab.inventory(gateway.where.parent, {HOST: {}}, gateway_token=TOKEN, **variables)
    return Change(lab.play("site", where), *before)


@pytest.fixture(scope="module")
def hot(gateway: Gateway) -> Change:
    """A change of settings and of the token, which the running gateway takes."""
    made = change(gateway, gateway_settings={**OURS, **TRUSTED})
    assert made.run.status == 0, made.run.output
    return made


@pytest.fixture(scope="module")
def moving(gateway: Gateway, hot: Change) -> Change:
    """A change that needs a restart, after somebody else has written into the settings."""
    settings = gateway.host.settings()
    settings["logging"]["consoleLevel"] = "error"
    settings["session"] = {"dmScope": "per-peer"}
    gateway.host.write(lab.SETTINGS, json.dumps(settings))
    made = change(gateway, gateway_settings=OURS, gateway_port=MOVED)
    assert made.run.status == 0, made.run.output
    return made


def forwarded(host: lab.Host) -> str:
    """The status of a forwarded request: a gateway that does not trust its proxy refuses one."""
    return host.run(
        "curl -s -o /dev/null -w '%{http_code}' -H 'X-Forwarded-For: 198.51.100.7' http://127.0.0.1:18789/readyz"
    )


# ---- what is taken hot -----------------------------------------------------------------------------------


def test_a_hot_change_is_taken_without_a_restart(gateway: Gateway, hot: Change) -> None:
    assert gateway.host.settings()["gateway"]["trustedProxies"] == ["127.0.0.1"]
    assert gateway.host.process() == hot.process
    # In force, not only in the file.
    assert forwarded(gateway.host) == "200"


def test_a_new_token_is_in_force_without_a_restart(gateway: Gateway, hot: Change) -> None:
    assert TOKEN not in hot.run.output
    assert gateway.host.token() == TOKEN != hot.token
    assert gateway.host.accepts(TOKEN)
    assert not gateway.host.accepts(hot.token)


# ---- what restarts ---------------------------------------------------------------------------------------


def test_a_change_that_needs_a_restart_moves_the_gateway(gateway: Gateway, moving: Change) -> None:
    assert gateway.host.process() != moving.process
    assert gateway.host.serves(MOVED)
    assert not gateway.host.serves()


def test_what_is_no_longer_desired_goes_and_what_others_wrote_stays(gateway: Gateway, moving: Change) -> None:
    settings = gateway.host.settings()
    assert "trustedProxies" not in settings["gateway"]
    assert settings["session"] == {"dmScope": "per-peer"}


def test_a_key_of_ours_that_somebody_changed_is_reported_and_put_back(gateway: Gateway, moving: Change) -> None:
    told = " ".join(moving.run.output.split())
    assert "gateway_settings.logging.consoleLevel was changed on the host" in told
    assert gateway.host.settings()["logging"]["consoleLevel"] == "warn"


# ---- what is refused -------------------------------------------------------------------------------------


def test_a_change_that_the_gateway_does_not_start_with_is_taken_back(gateway: Gateway, moving: Change) -> None:
    files = f"{lab.SETTINGS} {lab.SECRETS} /etc/openclaw/main/gateway.env /etc/systemd/system/{lab.UNIT}"
    state = f"stat -c '%n %U %a' {files}; cat {files}"
    before = gateway.host.run(state)
    tls = {"enabled": True, "autoGenerate": False, "certPath": "/nowhere/c", "keyPath": "/nowhere/k"}
    refused = change(gateway, gateway_settings={**OURS, "gateway": {"tls": tls}}, gateway_port=MOVED)
    lab.assert_refused(
        refused.run,
        (
            f"{lab.SETTINGS}: the running gateway did not take the change:",
            "gateway tls: cert/key missing",
            "The previous settings are back and the gateway serves with them.",
        ),
    )
    assert gateway.host.run(state) == before
    assert gateway.host.serves(MOVED)


# ---- another one -----------------------------------------------------------------------------------------


def test_a_second_gateway_lives_beside_the_first(gateway: Gateway, moving: Change) -> None:
    first = {"gateway_settings": OURS, "gateway_port": MOVED, "gateway_token": TOKEN}
    second = {"ansible_host": HOST, "gateway_instance": "second", "gateway_port": MOVED + 120}
    run = lab.play("site", lab.inventory(gateway.where.parent, {HOST: first, SECOND: second}))
    assert run.status == 0, run.output
    assert (gateway.host.serves(MOVED), gateway.host.serves(MOVED + 120)) == (True, True)
    users = gateway.host.run("systemctl show -p User --value openclaw-gateway openclaw-gateway-second").split()
    assert users == ["openclaw", "openclaw-second"]
    other = json.loads(gateway.host.read("/etc/openclaw/second/secrets/secrets.json"))["OPENCLAW_GATEWAY_TOKEN"]
    assert other != gateway.host.token() == TOKEN
