#!/usr/bin/python
# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_health
short_description: Give a verdict over a running OpenClaw gateway
version_added: 1.0.0
author: clawops (@clawops)
description:
  - Looks at a gateway the way its clients do and says whether it is V(healthy), V(degraded), V(unhealthy) or
    V(unreachable), with the reasons in words and every figure as data.
  - It asks C(/startupz) (phase and version), C(/readyz) (channels and event loop) and C(/healthz), opens a WebSocket and
    waits for its first message, makes one authenticated call that must succeed and the same call with a random
    credential that must be refused, and looks at the certificate where O(url) is an https one. A status code alone is
    never taken as an answer.
  - It changes nothing, and starts a process of OpenClaw only for O(settings_file).
notes:
  - The credential is read on the host from O(token_file). It is in no argument and in no result, and it is sent only to
    a server that has answered C(/startupz) as OpenClaw does, over TLS only when chain and name of its certificate are right.
    Without TLS, where O(unit) is given and the module runs as root, it is sent only on a connection that a process of that unit
    has accepted; through a reverse proxy only when the gateway has just accepted it directly.
  - OpenClaw answers a wrong credential from loopback only after 0.25 seconds, and twice as late for each further one within a
    minute, up to 5 seconds; any other address it locks out for five minutes after ten within a minute, the right credential
    included. That is why the wrong credential is tried once, after the right one (which clears the count), and why a refused
    credential is tried again ever more rarely.
  - Proxy variables of the environment are not used, and redirects are not followed.
attributes:
  check_mode:
    description: Can run in check mode and give the same verdict.
    support: full
  diff_mode:
    description: Returns what has changed; this module changes nothing.
    support: none
options:
  url:
    description: Where the gateway is. Scheme, host and port only.
    type: str
    default: http://127.0.0.1:18789
  version:
    description:
      - The OpenClaw version that must answer, exactly, such as V(2026.9.6).
      - Without it any version is right.
    type: str
  token_file:
    description:
      - Path on the host of a JSON file with the gateway's credential, a plain file of 1 MiB at most. Only its owner can read it, so
        the module must run as that user or as root.
      - Without it no authenticated call is made.
    type: path
  owner:
    description:
      - Account that the gateway runs as. O(token_file) is in a directory of its, so the module opens it with the rights of that
        account; a link there to what belongs to another is not read.
      - Without it the module reads O(token_file) with its own rights.
    type: str
  token_name:
    description: Name of the gateway's credential in O(token_file).
    type: str
    default: OPENCLAW_GATEWAY_TOKEN
  wait:
    description:
      - Seconds to go on looking until the gateway is healthy. V(0) looks once.
      - It is given up earlier when what answers does not get healthy within O(settle), and when systemd says that O(unit)
        has failed, because nothing starts it again then, or that its start has failed for the second time in a row.
      - A look that has begun is finished, so the module can take longer by some times O(timeout).
    type: int
    default: 0
  settle:
    description:
      - Seconds within O(wait) to go on looking when something answers that is neither healthy nor on its way up or down.
      - A channel takes some seconds to connect, and a new credential a second to be loaded. A broken channel, a wrong version or
        another program on the port stays; waiting longer for it is of no use.
    type: int
    default: 30
  interval:
    description: Seconds between two looks.
    type: float
    default: 0.5
  timeout:
    description:
      - Seconds for one request, from the connection to the end of the answer.
      - Authenticated calls get 6 seconds more, because OpenClaw delays its refusals.
    type: float
    default: 5.0
  fail_on:
    description:
      - The mildest verdict with which the module fails. V(unhealthy) fails on V(unhealthy) and V(unreachable),
        V(degraded) also on V(degraded).
      - With V(never) it only reports.
    type: str
    choices: [never, degraded, unhealthy]
    default: unhealthy
  check_websocket:
    description: Whether a WebSocket must open and begin with OpenClaw's challenge.
    type: bool
    default: true
  check_wrong_credential:
    description: Whether to show, once, that a random credential is refused.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file, or directory of hashed PEM files, with the CAs that may have signed the server's certificate.
      - Without it the host's own CAs are used.
    type: path
  client_cert:
    description: PEM file with the client certificate to show.
    type: path
  client_key:
    description: PEM file with the unencrypted key of O(client_cert).
    type: path
  server_name:
    description: Name that the server's certificate must carry, where it is not the host of O(url).
    type: str
  min_days_left:
    description: Days that the server's certificate must still be valid; with fewer the gateway is V(degraded).
    type: int
    default: 21
  client_certificate_required:
    description: Whether a client without a certificate must be refused. Needs an https O(url).
    type: bool
    default: false
  health_directory:
    description:
      - Path on the host of a folder with what else belongs to the verdict, such as C(/etc/openclaw/main/health.d). Each C(*.json) in it
        describes one thing, and is a plain file of root's that nobody else can write. A folder or file that is missing means that
        there is nothing to look at.
      - C(kind) C(mtls), by the role P(clawops.openclaw.mtls#role), is a reverse proxy that only clients with a certificate pass. The
        gateway must also answer through it, with the host's own client certificate, and refuse an anonymous client; the days left of
        certificates, CA and revocation list count too.
      - C(kind) C(tailscale), by the role P(clawops.openclaw.tailscale#role), is the host's node of a tailnet. One that was logged
        out, has expired or was removed makes the gateway V(degraded).
      - C(kind) C(backup), by each run of the role P(clawops.openclaw.backup#role), is when the newest backup and the newest drill were.
        One that is too old, or has failed, makes the gateway V(degraded).
    type: path
  settings_file:
    description:
      - Path on the host of the gateway's C(openclaw.json). A file that is not the one that M(clawops.openclaw.gateway_config) has had
        judged last is judged by O(release); what that refuses makes the gateway V(degraded), since its next start will fail, and so
        does a file that is missing, or something else in its place.
      - Nothing is started for a file that has not changed. Needs O(release) and O(journal).
    type: path
  journal:
    description: Path on the host of the C(journal_path) of M(clawops.openclaw.gateway_config).
    type: path
  release:
    description: Directory of the OpenClaw release that the gateway runs.
    type: path
  environment_variables:
    description: The gateway's environment, for O(release).
    type: dict
    default: {}
  unit:
    description:
      - Name of the gateway's systemd unit. When the gateway cannot be reached, the reasons say what systemd knows about it.
      - When it can, its process is looked at too, by root; one whose working directory was removed is unhealthy.
      - Without TLS it must be this unit that has accepted the connection on which root sends the credential, so O(url) is an
        address of this host.
    type: str
seealso:
  - module: clawops.openclaw.gateway_config
"""

EXAMPLES = r"""
- name: Wait until the release that was just started serves
  clawops.openclaw.gateway_health:
    version: 2026.9.6
    token_file: /etc/openclaw/main/secrets/secrets.json
    owner: openclaw
    unit: openclaw-gateway.service
    wait: 180

- name: Collect the state of the fleet without failing
  clawops.openclaw.gateway_health:
    token_file: /etc/openclaw/main/secrets/secrets.json
    owner: openclaw
    fail_on: never
  register: __health

- name: Check that clients with a certificate get through the reverse proxy
  clawops.openclaw.gateway_health:
    url: https://gateway.example.com
    token_file: /etc/openclaw/main/secrets/secrets.json
    owner: openclaw
    ca_path: /etc/openclaw/main/pki/ca.crt
    client_cert: /etc/openclaw/main/pki/probe.crt
    client_key: /etc/openclaw/main/pki/probe.key
    client_certificate_required: true
    fail_on: degraded
"""

RETURN = r"""
verdict:
  description:
    - V(healthy), all checks passed.
    - V(degraded), it serves, but something needs attention.
    - V(unhealthy), what answers is not started, not the expected version, not trustworthy, or not OpenClaw.
    - V(unreachable), nothing answers.
  returned: always, unless an argument is wrong
  type: str
  sample: healthy
reasons:
  description: Why the verdict is not V(healthy). Each names the subject, what was seen, and what to do.
  returned: always, unless an argument is wrong
  type: list
  elements: str
  sample:
    - "http://127.0.0.1:18789: version 2026.9.5 answers, 2026.9.6 is expected. The old release still runs: restart the
      gateway, or correct the expected version."
version:
  description: The version that answers; empty where it is not told.
  returned: always, unless an argument is wrong
  type: str
  sample: 2026.9.6
checks:
  description:
    - Each check by name, with V(passed), V(failed) or V(not_run).
    - A C(event_loop) that is degraded in the first 30 seconds of a gateway is busy with its start, and V(not_run).
  returned: always, unless an argument is wrong
  type: dict
  sample:
    startupz: passed
    version: passed
    readyz: passed
    event_loop: passed
    healthz: passed
    websocket: passed
    authenticated_call: passed
    wrong_credential: passed
    state: passed
    settings: passed
    certificate: not_run
    client_certificate: not_run
    health_directory: not_run
    mtls: not_run
    expiry: not_run
    tailnet: not_run
    backup: not_run
figures:
  description:
    - Every figure under a name of its own, flat, for C(set_stats) and monitoring. The unit is in the name; C(_ratio) and
      C(_utilization) are shares of one core and of time. What was not learnt is left out.
    - C(<check>_latency_ms) is from the connection to the end of the answer; C(wrong_credential_latency_ms) includes
      OpenClaw's delay of at least 250 ms.
  returned: always, unless an argument is wrong
  type: dict
  sample:
    startupz_latency_ms: 1.6
    readyz_latency_ms: 1.3
    healthz_latency_ms: 1.1
    websocket_latency_ms: 4.2
    authenticated_call_latency_ms: 18.4
    wrong_credential_latency_ms: 252.7
    uptime_ms: 734211
    event_loop_degraded: false
    event_loop_delay_p99_ms: 21.9
    event_loop_delay_max_ms: 21.9
    event_loop_utilization: 0.014
    event_loop_cpu_core_ratio: 0.015
    waited_seconds: 0.0
    looks: 1
"""

import dataclasses
import errno
import functools
import os
import secrets
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.clawops.openclaw.plugins.module_utils import _health as health
from ansible_collections.clawops.openclaw.plugins.module_utils import _health_backup as health_backup
from ansible_collections.clawops.openclaw.plugins.module_utils import _health_directory as health_directory
from ansible_collections.clawops.openclaw.plugins.module_utils import _host
from ansible_collections.clawops.openclaw.plugins.module_utils import _http as http
from ansible_collections.clawops.openclaw.plugins.module_utils import _runtime as runtime
from ansible_collections.clawops.openclaw.plugins.module_utils import _settings as settings
from ansible_collections.clawops.openclaw.plugins.module_utils import _store as store
from ansible_collections.clawops.openclaw.plugins.module_utils import _tailnet as tailnet
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._health_probes import CALL, REFUSAL_DELAY
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_found import (
    SECRETS_LIMIT,
    SETTINGS_LIMIT,
    Paths,
    digest,
    read_journal,
)

CLIENT_ARGUMENTS = ("url", "timeout", "ca_path", "client_cert", "client_key", "server_name")
REPAIR = "Run site.yml: it repairs the file from what was applied last, and keeps what is broken beside it."
UNIT_PROPERTIES = "LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts"

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "url": {"type": "str", "default": "http://127.0.0.1:18789"},
    "version": {"type": "str"},
    # Names of things that are secret, not secrets.
    "token_file": {"type": "path", "no_log": False},
    "owner": {"type": "str"},
    "token_name": {"type": "str", "default": "OPENCLAW_GATEWAY_TOKEN", "no_log": False},
    "wait": {"type": "int", "default": 0},
    "settle": {"type": "int", "default": 30},
    "interval": {"type": "float", "default": 0.5},
    "timeout": {"type": "float", "default": 5.0},
    "fail_on": {"type": "str", "choices": ["never", "degraded", "unhealthy"], "default": "unhealthy"},
    "check_websocket": {"type": "bool", "default": True},
    "check_wrong_credential": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "server_name": {"type": "str"},
    "min_days_left": {"type": "int", "default": 21},
    "client_certificate_required": {"type": "bool", "default": False},
    "unit": {"type": "str"},
    "health_directory": {"type": "path"},
    "settings_file": {"type": "path"},
    "journal": {"type": "path"},
    "release": {"type": "path"},
    "environment_variables": {"type": "dict", "default": {}},
}


def read_token(path: str, name: str, owner: str | None) -> str:
    """The gateway's credential from its secrets file, which is opened with the rights of the gateway's account."""
    account = store.find_account(owner)
    if account is not None and account.missing:
        raise OpenClawError(path, f"it cannot be read as {owner}: there is no such account", "Correct owner.")
    content = store.read(path, account, SECRETS_LIMIT)
    if content is None:
        raise OpenClawError(path, f"it cannot be read: {os.strerror(errno.ENOENT)}", "Correct token_file.")
    return health.credential(content, name)


def settings_problems(params: t.Mapping[str, t.Any]) -> list[str] | None:
    """What the next start would not take of a settings file that has changed since it was judged; ``None`` for any other."""
    path, account = params["settings_file"], store.find_account(params["owner"])
    journal = read_journal(Paths(path, "", params["journal"]))
    # Only what a run has applied can be repaired by one.
    remedy = REPAIR if "applied" in journal else ""
    try:
        raw = store.read(path, account, SETTINGS_LIMIT)
        if raw is None:
            return [str(OpenClawError(path, "is missing", remedy))] if remedy else None
        if journal.get("judged") == digest(raw):
            return None
        with store.staged(path, raw, account) as candidate:
            release = runtime.Release(params["release"], account, params["environment_variables"])
            issues, _warnings = release.validate(candidate)
    except store.Unreadable as error:
        return [str(OpenClawError(path, f"cannot be read: {error.cause}", remedy or error.remedy))]
    except OpenClawError as error:
        return [str(error)]
    found = settings.from_validation(issues, file=path, is_hosts=lambda _where: True, hosts_remedy=remedy)
    return [str(error) for error in found]


def days_left(until: float) -> int:
    """Whole days until a time; negative where it has passed."""
    return int((until - time.time()) // 86400)


class Gateway:
    """One gateway, seen from where the module runs."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.client = http.Client(**{name: self.params[name] for name in CLIENT_ARGUMENTS})
        # Behind TLS the certificate proves who it is, and a reverse proxy has the connection.
        if self.client.origin.scheme == "http" and os.geteuid() == 0:
            self.client.unit = self.params["unit"]
        self.anonymous = self.client.anonymous() if self.params["client_certificate_required"] else None
        self.token: str | None = None
        self.credential_problem = ""
        self.not_after: float | None = None
        folder, timeout = self.params["health_directory"], self.params["timeout"]
        self.described, self.health_problems = health_directory.read(folder) if folder else ({}, [])
        self.tailscale_socket = health_directory.tailscale_socket(self.described.get("tailscale"))
        self.mtls, self.mtls_problem = health_directory.mtls_proxy(self.described.get("mtls"), timeout)
        if self.params["token_file"]:
            # A missing credential is something to report with the rest, not a reason to look at nothing.
            try:
                self.token = read_token(*(self.params[name] for name in ("token_file", "token_name", "owner")))
                module.no_log_values.add(self.token)
            except OpenClawError as exc:
                self.credential_problem = str(exc)

    def look(self) -> health.Observations:
        """One look at everything that may be asked again and again."""
        wanted = {name: self.params[name] for name in ("version", "min_days_left", "unit")}
        seen = health.Observations(str(self.client.origin), credential_problem=self.credential_problem, **wanted)
        startupz = seen.probes["startupz"] = self.ask("/startupz")
        if health.is_started(startupz):
            # First, because every request that shows a wrong credential counts towards a lock-out.
            if self.token:
                seen.probes["authenticated_call"] = self.call(self.token)
            # Only loopback and those who have shown the credential are told more than yes or no.
            shown = self.token if health.is_accepted(seen.probes.get("authenticated_call")) else None
            if shown and "version" not in (startupz.says or {}):
                seen.probes["startupz"] = self.ask("/startupz", token=shown)
            seen.probes |= {name: self.ask(f"/{name}", token=shown) for name in ("readyz", "healthz")}
            if self.params["check_websocket"]:
                seen.probes["websocket"] = self.probe(lambda: self.client.first_message("/"))
            if self.mtls:
                proven = health.is_accepted(seen.probes.get("authenticated_call"))
                seen.mtls = self.look_through(self.mtls, proven=proven)
            if seen.unit and (pid := _host.main_process(seen.unit)):
                seen.missing = _host.missing_directories(pid, [])
        elif startupz.says is None and seen.unit and (systemctl := self.module.get_bin_path("systemctl")):
            command = [systemctl, "show", "--property", UNIT_PROPERTIES, "--", seen.unit]
            seen.unit_properties = health.properties(self.module.run_command(command)[1])
        if self.tailscale_socket:
            node = tailnet.look(self.tailscale_socket)
            seen.node_problem, seen.node_remedy = tailnet.problem(node), tailnet.remedy(node)
        if self.not_after is not None:
            seen.days_left = days_left(self.not_after)
        if backup := self.described.get("backup"):
            seen.backup_problems = health_backup.problems(backup.about, time.time())
            seen.backup_figures = health_backup.figures(backup.about, time.time())
        seen.described, seen.health_problems = len(self.described), self.health_problems
        seen.mtls_problem = self.mtls_problem
        if self.mtls:
            seen.expiring = {name: days_left(until) for name, until in self.mtls.expiring.items()}
        return seen

    def look_through(self, proxy: health_directory.MtlsProxy, *, proven: bool) -> health.Observations:
        """The same gateway as its clients see it.

        :param proven: whether the gateway has the port to which the proxy passes a credential on, as it was a moment ago.
        """
        client = proxy.client
        seen = health.Observations(str(client.origin), min_days_left=self.params["min_days_left"])
        seen.probes["startupz"] = self.probe(lambda: client.request("/startupz"))
        if health.is_started(seen.probes["startupz"]):
            if self.token and proven:
                call = functools.partial(
                    client.request, "/tools/invoke", token=self.token, body=CALL, patience=REFUSAL_DELAY
                )
                seen.probes["authenticated_call"] = self.probe(call)
            if self.params["check_websocket"]:
                seen.probes["websocket"] = self.probe(lambda: client.first_message("/"))
        if self.not_after is not None:
            seen.days_left = days_left(self.not_after)
        return seen

    def look_once_more(self, seen: health.Observations) -> None:
        """What takes long, or counts as an attack, and is therefore asked only once."""
        if self.params["settings_file"]:
            seen.settings_problems = settings_problems(self.params)
        if health.is_started(seen.probes["startupz"]):
            # Where the right one is refused, it is shown already, and another would bring the lock-out nearer.
            refused = health.is_refused(seen.probes.get("authenticated_call"))
            if self.params["check_wrong_credential"] and not refused:
                seen.probes["wrong_credential"] = self.call(secrets.token_hex(24))
            if self.anonymous:
                seen.probes["client_certificate"] = self.probe(functools.partial(self.anonymous.request, "/startupz"))
            if self.mtls and seen.mtls:
                through = functools.partial(self.mtls.anonymous.request, "/startupz")
                seen.mtls.probes["client_certificate"] = self.probe(through)

    def call(self, token: str) -> health.Probe:
        return self.ask("/tools/invoke", token=token, body=CALL, patience=REFUSAL_DELAY)

    def ask(self, path: str, **options: t.Any) -> health.Probe:
        return self.probe(lambda: self.client.request(path, **options))

    def probe(self, exchange: t.Callable[[], http.Answer]) -> health.Probe:
        try:
            answer = exchange()
        except http.HttpFailure as exc:
            return health.failed(exc.kind, exc.detail)
        self.not_after = answer.not_after or self.not_after
        return health.answered(answer.status, answer.headers, answer.body, answer.latency_ms, secret=self.token)


def watch(gateway: Gateway, patience: health.Patience) -> health.Verdict:
    """Look until the gateway is healthy, or further looks are too late or of no use."""
    started = time.monotonic()
    pause: float | None = 0.0
    while pause is not None:
        time.sleep(pause)
        seen = gateway.look()
        pause = patience.pause(seen, time.monotonic() - started)
    gateway.look_once_more(seen)
    return health.judge(seen, patience)


def refuse_useless_numbers(params: dict[str, t.Any]) -> None:
    """Refuse numbers that would make a busy loop, or a request that nothing can answer in time."""
    for name, least in (("interval", 0.05), ("timeout", 0.1), ("wait", 0), ("settle", 0)):
        if params[name] < least:
            raise OpenClawError(name, f"{params[name]:g} is less than {least:g}", "Give a larger number of seconds.")


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS,
        required_together=[("client_cert", "client_key"), ("settings_file", "release", "journal")],
        supports_check_mode=True,
    )
    try:
        refuse_useless_numbers(module.params)
        patience = health.Patience(**{name: module.params[name] for name in ("wait", "settle", "interval")})
        verdict = watch(Gateway(module), patience)
    except OpenClawError as exc:
        module.fail_json(msg=str(exc))
    result = dataclasses.asdict(verdict)
    if health.fails(verdict.verdict, module.params["fail_on"]):
        module.fail_json(msg=f"The gateway is {verdict.verdict}. {' '.join(verdict.reasons)}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
