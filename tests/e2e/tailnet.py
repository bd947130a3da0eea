# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tailnet of the lab's own: a Headscale server, and nodes of which the tests see what tailscaled says."""

from __future__ import annotations

import base64
import json
import typing as t

from ansible_collections.clawops.openclaw.tests.e2e import lab

INSTALL = lab.ROOT / "tests/fixtures/headscale/install.sh"
CERTIFICATE = "/usr/local/share/ca-certificates/tailnet.crt"
# What a browser does first, seen from another machine: the challenge comes before any credential.
WEBSOCKET = """
import base64, os, socket, sys
host, port, origin = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = socket.create_connection((host, port), 5)
key = base64.b64encode(os.urandom(16)).decode()
lines = [f"GET / HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
         "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", f"Origin: {origin}", "", ""]
connection.sendall("\\r\\n".join(lines).encode())
said = b""
while b"connect.challenge" not in said and len(said) < 10000 and (more := connection.recv(4096)):
    said += more
print(said.decode(errors="replace"))
"""


class Control:
    """The coordination server."""

    def __init__(self, host: lab.Host) -> None:
        self.host, self.url = host, f"https://{host.name}"
        host.run("cat > /tmp/install.sh", stdin=INSTALL.read_text())
        host.run(f"sh /tmp/install.sh {host.name}")
        self.certificate = host.read(CERTIFICATE)

    def trusted_by(self, host: lab.Host) -> None:
        host.run(f"cat > {CERTIFICATE} && update-ca-certificates", stdin=self.certificate)

    def key(self, *, tags: str = "tag:gateway", expires: str = "1h", words: str = "") -> str:
        return self.host.run(f"headscale preauthkeys create --tags {tags} --expiration {expires} {words}").strip()

    def nodes(self) -> list[dict[str, t.Any]]:
        return json.loads(self.host.run("headscale nodes list --output json")) or []

    def online(self) -> list[str]:
        """The nodes that the server takes for connected, by name."""
        return [node["given_name"] for node in self.nodes() if node.get("online")]

    def remove(self, name: str) -> None:
        """Delete a node. Headscale 0.29 leaves it its open connection and says nothing to it, until that ends (#3410)."""
        for node in self.nodes():
            if node["given_name"] == name:
                self.host.run(f"headscale nodes delete --identifier {node['id']} --force")
        self.host.run("systemctl restart headscale")

    def expire(self, name: str) -> None:
        [node] = [each for each in self.nodes() if each["given_name"] == name]
        self.host.run(f"headscale nodes expire --identifier {node['id']}")


def status(host: lab.Host) -> dict[str, t.Any]:
    """What tailscaled says of the node, empty where there is none."""
    text = host.run("tailscale status --json --peers=false", check=False)
    return t.cast(dict[str, t.Any], json.loads(text)) if text.strip() else {}


def prefs(host: lab.Host) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], json.loads(host.run("tailscale debug prefs")))


def wait_until(host: lab.Host, words: str, seconds: float = 30) -> None:
    """Wait until tailscaled says this of the node."""
    command = "tailscale status --json --peers=false"
    lab.eventually(lambda: host.run(command, check=False), lambda said: words in said, seconds=seconds)


def websocket(host: lab.Host, name: str, origin: str, port: int = 18789) -> str:
    """What a gateway answers to a browser's first words."""
    program = base64.b64encode(WEBSOCKET.encode()).decode()
    return host.run(f"echo {program} | base64 -d | python3 - {name} {port} {origin}")
