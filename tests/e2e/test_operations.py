# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operator's rarer days: settings that a gateway does not notice, files that go missing, releases forth and back.

The usual ones stand in test_gateway.py.
"""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway

pytestmark = pytest.mark.full
AS_GATEWAY = ("--tags", "gateway")
OLDER = "2026.9.5"
# The task that asks the npm registry what latest is.
RESOLUTION = "preflight | Check the host"
TRUSTED = {"trustedProxies": ["127.0.0.1"]}


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    return start_shared_gateway("operations")


def converge(gateway: Gateway, *words: str, **variables: t.Any) -> lab.Run:
    """Run site.yml with these variables; it has to end well."""
    where = lab.inventory(gateway.where.parent, {gateway.host.name: {}}, **variables)
    run = lab.play("site", where, *AS_GATEWAY, *words)
    assert run.status == 0, run.output
    return run


def trusts_its_proxy(gateway: Gateway) -> bool:
    """Whether the setting is in force, not only in the file: a forwarded request is refused otherwise."""
    forwarded = (
        "curl -s -o /dev/null -w '%{http_code}' -H 'X-Forwarded-For: 198.51.100.7' http://127.0.0.1:18789/readyz"
    )
    return gateway.host.run(forwarded) == "200"


def test_a_change_is_in_force_where_the_gateway_is_told_to_ignore_its_file(gateway: Gateway) -> None:
    ignoring = {"reload": {"mode": "off"}}
    converge(gateway, gateway_settings={"gateway": ignoring})
    assert not trusts_its_proxy(gateway)
    converge(gateway, gateway_settings={"gateway": {**ignoring, **TRUSTED}})
    assert trusts_its_proxy(gateway)


def test_a_change_is_in_force_where_the_gateway_does_not_notice_its_file(gateway: Gateway) -> None:
    # OpenClaw looks at its file once an hour then.
    deaf = {"gateway_environment": {"CHOKIDAR_USEPOLLING": "1", "CHOKIDAR_INTERVAL": "3600000"}}
    converge(gateway, **deaf)
    assert not trusts_its_proxy(gateway)
    run = converge(gateway, **deaf, gateway_settings={"gateway": TRUSTED})
    assert "did not read its changed settings within 30 s: restarted" in " ".join(run.output.split())
    assert trusts_its_proxy(gateway)
    converge(gateway)


def test_a_key_of_ours_that_somebody_changed_can_be_kept(gateway: Gateway) -> None:
    desired = {"gateway_settings": {"logging": {"consoleLevel": "warn"}}, "gateway_settings_drift": "keep"}
    converge(gateway, **desired)
    settings = gateway.host.settings()
    settings["logging"]["consoleLevel"] = "error"
    gateway.host.write(lab.SETTINGS, json.dumps(settings))
    run = converge(gateway, **desired)
    assert "gateway_settings.logging.consoleLevel was changed on the host" in " ".join(run.output.split())
    assert gateway.host.settings()["logging"]["consoleLevel"] == "error"


def test_settings_that_a_person_wrote_as_json5_are_read_and_left(gateway: Gateway) -> None:
    converge(gateway)
    text = gateway.host.read(lab.SETTINGS)
    gateway.host.write(lab.SETTINGS, "// by hand\n" + text.replace('"gateway": {', "gateway: { // unquoted"))
    assert converge(gateway).changed(gateway.host.name) == 0
    assert gateway.host.read(lab.SETTINGS).startswith("// by hand")
    run = converge(gateway, gateway_settings={"logging": {"consoleLevel": "warn"}})
    assert run.changed(gateway.host.name) == 1
    assert json.loads(gateway.host.read(lab.SETTINGS))["logging"]["consoleLevel"] == "warn"


def test_a_second_gateway_goes_and_leaves_the_first_alone(gateway: Gateway) -> None:
    first, second = gateway.host.name, "operations-second"
    own = {"ansible_host": first, "gateway_instance": "second", "gateway_port": 18789 + 120}
    where = lab.inventory(gateway.where.parent, {first: {}, second: own})
    run = lab.play("site", where, *AS_GATEWAY)
    assert run.status == 0, run.output
    run = lab.play("retire", where, "--limit", second, "-e", "retire_purge=true")
    assert run.status == 0, run.output
    assert gateway.host.serves(18789)
    assert not gateway.host.system.file("/var/lib/openclaw/second").exists


def test_a_run_that_only_gateway_files_need_restarts_a_stale_gateway(gateway: Gateway) -> None:
    """As after a run that was broken off between the unit and the restart."""
    converge(gateway)
    process = gateway.host.process()
    gateway.host.run("sleep 2; touch /etc/systemd/system/openclaw-gateway.service")
    converge(gateway)
    assert gateway.host.process() != process
    process = gateway.host.process()
    converge(gateway)
    assert gateway.host.process() == process


def test_a_gateway_whose_directories_were_removed_under_it_gets_new_ones(gateway: Gateway) -> None:
    process = gateway.host.process()
    gateway.host.run("rm -rf /var/lib/openclaw/main")
    run = lab.play("health", gateway.where)
    assert (run.status != 0, "its working directory was removed under it" in " ".join(run.output.split())) == (
        True,
        True,
    )
    converge(gateway)
    assert gateway.host.process() != process
    assert gateway.host.run("find /var/lib/openclaw/main/state -name openclaw.sqlite")
    assert converge(gateway).changed(gateway.host.name) == 0


def test_a_gateway_whose_cache_was_removed_under_it_ends_in_order_and_gets_a_new_one(gateway: Gateway) -> None:
    process = gateway.host.process()
    # Again where the gateway has just put a file into one of the thousands of directories.
    since = gateway.host.run("cd /var/cache/openclaw; rm -rf main || rm -rf main && date +@%s").strip()
    converge(gateway)
    assert gateway.host.process() != process
    words = gateway.host.run(f"journalctl --unit openclaw-gateway --since {since}")
    assert ("Stopped" in words, "status=9/KILL" in words) == (True, False)
    assert gateway.host.run("find /var/cache/openclaw/main -type f -print -quit")
    assert converge(gateway).changed(gateway.host.name) == 0


@pytest.mark.parametrize("damage", ["mv dist ../dist", "truncate -s 100 package.json"])
def test_a_release_that_somebody_took_apart_is_installed_again(gateway: Gateway, damage: str) -> None:
    package = f"/opt/openclaw/releases/{lab.VERSION}/node_modules/openclaw"
    gateway.host.run(f"cd {package}; {damage}; systemctl restart openclaw-gateway || true")
    converge(gateway)
    assert gateway.host.startup()["version"] == lab.VERSION
    assert converge(gateway).changed(gateway.host.name) == 0


def test_a_release_that_does_not_answer_is_taken_back(gateway: Gateway) -> None:
    """OpenClaw refuses state that a newer release has migrated: going back is such a release."""
    where = lab.inventory(
        gateway.where.parent, {gateway.host.name: {}}, gateway_version=OLDER, gateway_start_timeout=120
    )
    run = lab.play("site", where, *AS_GATEWAY)
    assert run.status != 0
    words = " ".join(run.output.split())
    assert "What ran before was put back and is healthy" in words
    assert f"OpenClaw {OLDER} is older than {lab.VERSION}, which ran before" in words
    assert gateway.host.startup()["version"] == lab.VERSION
    assert converge(gateway).changed(gateway.host.name) == 0


def test_latest_is_resolved_once_and_then_exact_everywhere(start_gateway: t.Callable[..., Gateway]) -> None:
    # A host of its own: what is latest may be newer than what the other tests run.
    gateway = start_gateway("latest")
    newest = json.loads(gateway.host.run("npm view --json openclaw version"))
    run = converge(gateway, gateway_version="latest")
    assert run.output.count(RESOLUTION) == 1, run.output
    assert f"{gateway.host.name}: OpenClaw {newest} answers" in run.output
    assert gateway.host.startup()["version"] == newest
    assert gateway.host.run("readlink /opt/openclaw/main/current").strip() == f"/opt/openclaw/releases/{newest}"
    process = gateway.host.process()
    again = converge(gateway, gateway_version="latest")
    assert again.changed(gateway.host.name) == 0, again.output
    assert gateway.host.process() == process


def test_an_older_release_is_upgraded(start_gateway: t.Callable[..., Gateway]) -> None:
    gateway = start_gateway("upgrade")
    where = lab.inventory(gateway.where.parent, {gateway.host.name: {}}, gateway_version=OLDER)
    assert lab.play("retire", where, "-e", "retire_purge=true").status == 0
    run = lab.play("site", where, *AS_GATEWAY)
    assert run.status == 0, run.output
    assert gateway.host.startup()["version"] == OLDER
    token = gateway.host.token()
    converge(gateway)
    gateway.host.wait_until_serving()
    assert gateway.host.startup()["version"] == lab.VERSION
    assert gateway.host.token() == token
