# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The untrusted agent of the old guides, with a model that stands in for one (provider.py)."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path

from ansible_collections.clawops.openclaw.tests.e2e import lab

PROVIDER = Path(__file__).with_name("provider.py")
PORT = 26080
NAME = "untrusted-agent"
SNIPPET = json.loads((lab.ROOT / "tests/fixtures/retired-settings/agent-docker-sandbox.json").read_text())
# The snippet as the guides hand it out, and a model for it.
SETTINGS = {
    "agents": {"defaults": {"model": "stand-in/one"}, **SNIPPET["agents"]},
    "models": {
        "providers": {
            "stand-in": {
                "baseUrl": f"http://127.0.0.1:{PORT}/v1",
                "api": "openai-completions",
                "apiKey": "{{ 'STAND_IN_KEY' | clawops.openclaw.secret_ref }}",
                "models": [{"id": "one", "name": "One"}],
            }
        }
    },
}
# For an inventory.
VARIABLES = {"docker_state": "present", "gateway_settings": SETTINGS, "gateway_secrets": {"STAND_IN_KEY": "none"}}
# In the lab its control groups have no controllers: no engine there can limit memory and CPU, and it has to be told so
# (docs/sandboxes.md). All else of the snippet holds there too.
UNLIMITED = copy.deepcopy(SNIPPET["agents"]["list"])
for limit in ("memory", "cpus"):
    del UNLIMITED[0]["sandbox"]["docker"][limit]
UBUNTU2604 = {
    "docker_daemon_options": {"exec-opts": ["native.cgroupdriver=cgroupfs"]},
    "gateway_settings_host": {"agents": {"list": UNLIMITED}},
}


def start_model(host: lab.Host) -> None:
    """Have the model answer on the host, until it is restarted."""
    host.write("/root/provider.py", PROVIDER.read_text())
    host.run(f"systemd-run --quiet --unit provider python3 /root/provider.py {PORT}")
    host.eventually(f"ss -ltnH | grep -F 127.0.0.1:{PORT}")


def turn(host: lab.Host, session: str, command: str) -> str:
    """What the tool call of one turn of the agent gave back; each session has one."""
    desired = base64.b64encode(command.encode()).decode()
    answer = host.run(
        f"openclaw agent --agent {NAME} --session-key agent:{NAME}:{session} --message 'RUN {desired}'"
        " --json --timeout 150 2>/root/turn.log"
    )
    result = json.loads(answer)
    assert result["status"] == "ok", answer
    text = "\n".join(payload["text"] for payload in result["result"]["payloads"])
    assert text.startswith("TOOL SAID "), text
    return text.removeprefix("TOOL SAID ")
