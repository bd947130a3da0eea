# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role mtls: nginx lets only clients with a certificate through to the gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest

ETC = "/etc/openclaw/main/mtls"
CLIENT = f"--cert {ETC}/clients/alice/current/cert.pem --key {ETC}/clients/alice/current/key.pem"


@pytest.fixture
def ask(host: Any) -> Any:
    """Status and body of a request by the host's own address: a client on loopback is one that the gateway refuses."""
    name = host.check_output("hostname")

    def ask(url: str, words: str = "") -> tuple[int, str]:
        told = host.check_output(
            f"curl -s -m 15 -w '\\n%{{http_code}} %{{redirect_url}}' --cacert {ETC}/ca.pem {words} {url.format(name)}"
        )
        body, _, last = told.rpartition("\n")
        status, _, moved = last.partition(" ")
        return int(status), moved or body

    return ask


# Not among the promised services: systemd goes on naming the unit, as not found, when the package is gone.
def test_nginx_runs_and_will_after_a_reboot(host: Any) -> None:
    nginx = host.service("nginx")
    assert (nginx.is_running, nginx.is_enabled) == (True, True)


def test_the_distributions_own_site_is_not_there(host: Any) -> None:
    assert not host.file("/etc/nginx/sites-enabled/default").exists


def test_the_gateway_answers_a_client_with_a_certificate(ask: Any) -> None:
    status, body = ask("https://{}:8443/startupz", CLIENT)
    assert (status, json.loads(body)["status"]) == (200, "started")


def test_a_client_without_a_certificate_is_refused(ask: Any) -> None:
    assert ask("https://{}:8443/startupz")[0] == 400


def test_plain_http_leads_to_the_proxy(host: Any, ask: Any) -> None:
    assert ask("http://{}:8080/x") == (301, f"https://{host.check_output('hostname')}:8443/x")


def test_the_log_names_the_client_and_is_rotated(host: Any, ask: Any) -> None:
    log = "/var/log/nginx/openclaw-main.access.log"
    ask("https://{}:8443/startupz", CLIENT)
    # nginx writes it after it has answered.
    line = host.check_output(f"timeout 10 sh -c 'until grep \"status.:200\" {log}; do sleep 0.1; done' | tail -n 1")
    assert json.loads(line)["client"] == "alice"
    assert f"considering log {log}" in host.run("logrotate --debug /etc/logrotate.conf").stderr
