# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a local account tries that the gateway's host is shared with, or the gateway's own (docs/security.md).

Attacks by files are unit tests of the modules that read them; what a purge ends is in test_site.py.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway
from ansible_collections.clawops.openclaw.tests.e2e.lab import message, squeezed

HOST = "attacked"
HEARD = "/var/tmp/heard"
# Answers as OpenClaw does and writes down what it is sent.
THIEF = """
import http.server, json, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        with open(sys.argv[1], "a") as heard:
            heard.write(f"{self.path} {dict(self.headers)} {self.rfile.read(length)}\\n")
        said = {"/startupz": {"ok": True, "status": "started", "version": sys.argv[2], "uptimeMs": 90000},
                "/readyz": {"ready": True}, "/healthz": {"ok": True, "status": "live"}}
        body = json.dumps(said.get(self.path, {"ok": True, "result": {}})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 18789), Answer).serve_forever()
"""
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def gateway(start_shared_gateway: t.Callable[..., Gateway]) -> Gateway:
    return start_shared_gateway(HOST)


@contextlib.contextmanager
def thief(host: lab.Host, account: str) -> Iterator[None]:
    """The gateway is stopped, and another program has its port."""
    host.run(f"systemctl stop {lab.UNIT}; rm -f {HEARD}; cat > /var/tmp/thief.py", stdin=THIEF)
    host.run(
        f"systemd-run --quiet --unit=thief --uid={account} python3 /var/tmp/thief.py {HEARD} {lab.VERSION}",
    )
    try:
        host.eventually("curl -sf http://127.0.0.1:18789/startupz")
        yield
    finally:
        host.run(f"systemctl stop thief; systemctl start {lab.UNIT}")
        host.wait_until_serving()


@pytest.mark.parametrize("account", ["nobody", "openclaw"])
def test_a_thief_on_the_gateways_port_is_sent_no_credential(gateway: Gateway, account: str) -> None:
    token = gateway.host.token()
    with thief(gateway.host, account):
        run = lab.play("health", gateway.where)
        heard = gateway.host.read(HEARD)
    assert run.status != 0
    assert "/startupz" in heard
    assert token not in heard
    assert "Authorization" not in heard
    assert squeezed(f"has the port, no process of {lab.UNIT}") in message(run), run.output


def test_behind_the_mtls_proxy_no_other_account_answers_from_the_gateways_port(
    gateway: Gateway, tmp_path: Path
) -> None:
    host = gateway.host
    where = lab.inventory(tmp_path, {HOST: {}}, mtls_state="present")
    run = lab.play("site", where)
    assert run.status == 0, run.output
    assert host.serves()
    # As a client would, whose token nginx passes on.
    client = "cd /etc/openclaw/main/mtls/clients/health/current && curl -sk --cert cert.pem --key key.pem -m 5"
    asked = f"{client} -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer a-clients-token' https://$(hostname -i | cut -d' ' -f1)/tools/invoke"
    host.run(f"systemctl stop {lab.UNIT}; rm -f {HEARD}; cat > /var/tmp/thief.py", stdin=THIEF)
    try:
        host.run(f"systemd-run --quiet --unit=thief --uid=nobody python3 /var/tmp/thief.py {HEARD} {lab.VERSION}")
        host.eventually("ss -ltn | grep -q 127.0.0.1:18789")
        assert host.run(asked, check=False) in ("502", "504", "000")
        assert host.run(f"cat {HEARD}", check=False) == ""
        # Whoever loads the host's own rules anew takes ours away and brings them back.
        host.run("systemctl restart nftables")
        assert host.run(asked, check=False) in ("502", "504", "000")
        assert host.run(f"cat {HEARD}", check=False) == ""
    finally:
        host.run(f"systemctl stop thief; systemctl start {lab.UNIT}")
        host.wait_until_serving()
    again = lab.play("site", where)
    assert (again.status, again.changed(HOST)) == (0, 0), again.output
    gone = lab.play("site", lab.inventory(tmp_path, {HOST: {}}, mtls_state="absent"))
    assert gone.status == 0, gone.output
    assert "openclaw" not in host.run("nft list tables")


def test_the_account_lets_nobody_in_by_ssh(gateway: Gateway) -> None:
    host, folder = gateway.host, "/var/lib/openclaw/main/state/.ssh"
    host.run("rm -f /root/its; ssh-keygen -q -t ed25519 -N '' -f /root/its")
    host.run(
        f"install -d -o openclaw -m 700 {folder}; install -o openclaw -m 600 /root/its.pub {folder}/authorized_keys"
    )
    login = "timeout 5 ssh -N -i /root/its -o BatchMode=yes -o StrictHostKeyChecking=no openclaw@127.0.0.1"
    status, _, errors = host.execute(login)
    assert (status, "Permission denied" in errors) == (255, True), errors
    # Without our line it would be let in, and stay.
    line = "/etc/ssh/sshd_config.d/60-openclaw.conf"
    host.run(f"mv {line} /root/line; systemctl reload ssh")
    try:
        assert host.execute(login)[0] == 124
    finally:
        host.run(f"mv /root/line {line}; systemctl reload ssh; rm -r {folder}")


def test_the_account_can_have_no_jobs_for_later(gateway: Gateway, tmp_path: Path) -> None:
    host = gateway.host
    # As the package at does, whose programs the lab has not: without such a list at lets nobody in but root.
    host.run("touch /etc/at.deny")
    run = lab.play("site", gateway.where)
    assert run.status == 0, run.output
    as_account = "setpriv --reuid openclaw --regid openclaw --clear-groups"
    status, output, errors = host.execute(f"cd / && {as_account} crontab -", "@reboot touch /tmp/back\n")
    assert status != 0
    assert "not allowed" in output + errors
    assert host.read("/etc/at.deny") == "openclaw\n"
    again = lab.play("site", gateway.where)
    assert (again.status, again.changed(HOST)) == (0, 0), again.output
