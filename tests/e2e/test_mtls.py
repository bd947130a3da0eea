# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mTLS proxy in front of a gateway, tried from another machine: which clients are let in, and the life of certificates.

The tests stand in the order of an operator's year, on one host.
"""

from __future__ import annotations

import datetime
import json
import re
import stat
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from ansible_collections.clawops.openclaw.tests.e2e import lab
from ansible_collections.clawops.openclaw.tests.e2e.conftest import Gateway

HOST, CLIENT = "mtls-gateway", "mtls-client"
ETC = "/etc/openclaw/main/mtls"
SITE = "/etc/nginx/conf.d/openclaw-main.conf"
PASSPHRASE = "opens-the-bundles-of-a-throw-away-host"
DAY = datetime.timedelta(days=1)
# What a client does that no tool of the host's does: open a WebSocket, and keep it open until the other side ends it.
WEBSOCKET = """
import base64, json, os, socket, ssl, struct, sys, time
name, folder, who, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
context.load_cert_chain(f"{folder}/{who}.pem", f"{folder}/{who}.key")
proxy = context.wrap_socket(socket.create_connection((name, 443), timeout=10), server_hostname=name)
key = base64.b64encode(os.urandom(16)).decode()
proxy.sendall((f"GET / HTTP/1.1\\r\\nHost: {name}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
              f"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: {key}\\r\\n\\r\\n").encode())
said = b""
while b"connect.challenge" not in said:
    piece = proxy.recv(4096)
    if not piece:
        sys.exit(f"closed: {said!r}")
    said += piece
print(said.split(b"\\r\\n")[0].decode(), flush=True)
if seconds:
    # Whoever does not answer the challenge is disconnected after 15 s.
    client = {"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"}
    connect = {"minProtocol": 4, "maxProtocol": 4, "client": client, "auth": {"token": sys.stdin.read()}, "role": "operator", "scopes": []}
    text = json.dumps({"type": "req", "id": "1", "method": "connect", "params": connect}).encode()
    mask = os.urandom(4)
    head = bytes([0x81, 0x80 | 126]) + struct.pack(">H", len(text)) + mask
    proxy.sendall(head + bytes(each ^ mask[at % 4] for at, each in enumerate(text)))
    print("hello" if b"hello-ok" in proxy.recv(65536) else "refused", flush=True)
begun, ended = time.monotonic(), "open"
while time.monotonic() - begun < seconds and ended == "open":
    proxy.settimeout(0.5)
    try:
        ended = "open" if proxy.recv(65536) else "closed"
    except TimeoutError:
        continue
    except OSError:
        ended = "closed"
print(ended, round(time.monotonic() - begun, 1), flush=True)
"""


class Caller:
    """The other machine."""

    def __init__(self, host: lab.Host, bundles: Path) -> None:
        self.host, self.bundles = host, bundles

    def give(self, folder: str = "/root/now") -> str:
        """Hand it what stands on the controller."""
        self.host.put(folder, self.bundles / HOST)
        return folder

    def ask(
        self,
        path: str,
        *,
        who: str = "alice",
        folder: str = "/root/now",
        token: str = "",
        more: str = "",
        body: str = "",
    ) -> tuple[int, str]:
        """Status and body; 0 where there is no answer. The token travels in no argument."""
        certificate = f"--cert {folder}/{who}.pem --key {folder}/{who}.key" if who else ""
        lines = [f'header = "Authorization: Bearer {token}"'] if token else []
        if body:
            lines += ['header = "Content-Type: application/json"', f"data = {json.dumps(body)}"]
        said = self.host.run(
            f"curl -s -m 15 -w '\\n%{{http_code}}' --cacert {folder}/ca.pem {certificate} {more} -K - https://{HOST}{path}",
            stdin="\n".join(lines) + "\n",
            check=False,
        )
        text, _, status = said.rpartition("\n")
        return int(status or 0), text

    def call(self, token: str, **options: t.Any) -> int:
        """The status of a call that needs the gateway's token."""
        return self.ask("/tools/invoke", token=token, body='{"tool":"sessions_list","args":{}}', **options)[0]

    def websocket(self, seconds: float = 0, who: str = "alice", folder: str = "/root/now") -> str:
        return self.host.run(f"python3 /root/websocket.py {HOST} {folder} {who} {seconds}", check=False)

    def hold(self, who: str, token: str) -> None:
        """Open a WebSocket and leave it open; held() says whether it still is."""
        self.host.write("/root/token", token)
        command = f"python3 /root/websocket.py {HOST} /root/now {who} 600 < /root/token > /root/held-{who} 2>&1"
        self.host.begin("sh", "-c", command)
        opened = "HTTP/1.1 101 Switching Protocols\nhello\n"
        lab.eventually(lambda: self.held(who), lambda said: said == opened, seconds=30)

    def held(self, who: str) -> str:
        return self.host.run(f"cat /root/held-{who}", check=False)

    def wait_until_closed(self, who: str) -> None:
        """Wait until the client has noticed that its connection was ended."""
        lab.eventually(lambda: self.held(who), lambda said: "closed" in said, seconds=30)

    def serial(self) -> str:
        """The serial number of the certificate that the server shows."""
        return self.host.run(
            f"openssl s_client -connect {HOST}:443 </dev/null 2>/dev/null | openssl x509 -noout -serial"
        )


class Proxy(t.NamedTuple):
    """A gateway with an mTLS proxy, its client, and where its inventory is."""

    host: lab.Host
    caller: Caller
    folder: Path
    first: lab.Run

    def play(self, playbook: str, *words: str, **variables: t.Any) -> lab.Run:
        return lab.play(playbook, self.inventory(**variables), *words)

    def inventory(self, **variables: t.Any) -> Path:
        given = {**VARIABLES, "mtls_bundles_path": str(self.caller.bundles), **variables}
        return lab.inventory(self.folder, {HOST: {}}, **given)

    def converge(self, *, tags: str = "mtls", **variables: t.Any) -> lab.Run:
        run = self.play("site", "--tags", tags, **variables)
        assert run.status == 0, run.output
        return run


VARIABLES: dict[str, t.Any] = {
    "mtls_state": "present",
    "mtls_clients": ["alice", "bob"],
    "mtls_bundle_passphrase": PASSPHRASE,
}


@pytest.fixture(scope="module")
def proxy(start_shared_gateway: t.Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder, bundles = tmp_path_factory.mktemp("proxy"), tmp_path_factory.mktemp("controller") / "bundles"
    host = start_shared_gateway(HOST).host
    caller = Caller(lab.up({CLIENT: "debian12"})[CLIENT], bundles)
    caller.host.write("/root/websocket.py", WEBSOCKET)
    unfinished = Proxy(host, caller, folder, lab.Run(0, "", {}))
    run = unfinished.play("site", "--tags", "gateway,mtls", "--diff", "-vvv")
    assert run.status == 0, run.output
    # Where certificates are renewed in between, these are different ones.
    caller.give("/root/previous")
    caller.give()
    try:
        yield unfinished._replace(first=run)
    finally:
        lab.down([CLIENT])


def ca(host: lab.Host, name: str = "ca-1") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The CA on the host."""
    certificate = x509.load_pem_x509_certificate(host.read(f"{ETC}/ca/{name}.pem").encode())
    key = serialization.load_pem_private_key(host.read(f"{ETC}/ca/{name}.key").encode(), None)
    return certificate, t.cast(ec.EllipticCurvePrivateKey, key)


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    layout = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, layout, serialization.NoEncryption()).decode()


def certified(
    name: str,
    begins: datetime.timedelta,
    ends: datetime.timedelta,
    by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    is_ca: bool = False,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate and its key; self-signed where no CA is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(
            by[0].subject if by else subject, subject, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    )
    return made.sign(by[1] if by else key, hashes.SHA256()), key


def put(caller: Caller, who: str, made: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> None:
    caller.host.write(f"/root/now/{who}.pem", made[0].public_bytes(serialization.Encoding.PEM).decode())
    caller.host.write(f"/root/now/{who}.key", pem_of(made[1]))


def text_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def workers(host: lab.Host) -> set[str]:
    """The processes of nginx that take new connections."""
    lines = host.run("ps -o pid=,args= -C nginx", check=False).splitlines()
    return {line.split()[0] for line in lines if "worker process" in line and "shutting down" not in line}


def reload(host: lab.Host) -> None:
    """Have nginx read its files again, and wait until none of its old workers takes connections any more."""
    previous = workers(host)
    host.run("nginx -s reload")
    lab.eventually(lambda: workers(host), lambda now: now and not now & previous)


def logged(host: lab.Host, accepts: t.Callable[[dict[str, t.Any]], t.Any]) -> dict[str, t.Any]:
    """The last line of the access log, which nginx writes after it has answered."""
    path = "/var/log/nginx/openclaw-main.access.log"
    return lab.eventually(lambda: json.loads(host.read(path).splitlines()[-1]), accepts)


# Who is let in.


def test_a_client_with_certificate_and_token_is_let_in(proxy: Proxy) -> None:
    assert proxy.caller.call(proxy.host.token()) == 200


def test_a_websocket_opens_with_the_challenge(proxy: Proxy) -> None:
    assert proxy.caller.websocket().splitlines()[0] == "HTTP/1.1 101 Switching Protocols"


@pytest.mark.parametrize(
    ("begins", "ends", "ours", "verified"),
    [
        pytest.param(
            -2 * DAY,
            DAY,
            False,
            "unable to verify the first certificate|self-signed|unable to get",
            id="of-a-foreign-ca",
        ),
        pytest.param(-2 * DAY, -DAY, True, "certificate has expired", id="expired"),
        pytest.param(DAY, 2 * DAY, True, "certificate is not yet valid", id="not-yet-valid"),
    ],
)
def test_a_client_is_refused_whose_certificate_is(
    proxy: Proxy, begins: datetime.timedelta, ends: datetime.timedelta, ours: bool, verified: str
) -> None:
    by = ca(proxy.host) if ours else certified("Somebody else", -2 * DAY, 2 * DAY, is_ca=True)
    put(proxy.caller, "mallory", certified("alice", begins, ends, by))
    status, text = proxy.caller.ask("/startupz", who="mallory", token=proxy.host.token())
    assert (status, "The SSL certificate error" in text) == (400, True)
    line = logged(proxy.host, lambda line: any(words in line["verified"] for words in verified.split("|")))
    assert line["status"] == 400


def test_a_certificate_that_the_test_signed_for_today_is_let_in(proxy: Proxy) -> None:
    # What the refusals above owe to the dates alone.
    put(proxy.caller, "mallory", certified("alice", -DAY, DAY, ca(proxy.host)))
    assert proxy.caller.ask("/startupz", who="mallory")[0] == 200


def test_a_client_without_a_certificate_is_refused(proxy: Proxy) -> None:
    status, text = proxy.caller.ask("/startupz", who="", token=proxy.host.token())
    assert (status, "No required SSL certificate was sent" in text) == (400, True)


@pytest.mark.parametrize("token", ["", "a-wrong-one"])
def test_a_certificate_without_the_token_is_not_enough(proxy: Proxy, token: str) -> None:
    assert proxy.caller.call(token) == 401


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1;proto=https",
        "X-Forwarded-Host: 127.0.0.1:18789",
        "X-Forwarded-User: alice",
        "X-OpenClaw-Client-CN: alice",
        "X-OpenClaw-Client-Verify: SUCCESS",
        "X-OpenClaw-Scopes: operator.admin",
        "Tailscale-User-Login: alice@example.com",
    ],
)
def test_a_forged_header_changes_nothing(proxy: Proxy, header: str) -> None:
    forged = f"-H '{header}'"
    # Without the token, only loopback is told more than that it started.
    assert proxy.caller.ask("/startupz", more=forged) == (200, '{"ok":true,"status":"started"}')
    assert proxy.caller.call("", more=forged) == 401


def test_the_gateway_is_sent_none_of_the_forged_headers(proxy: Proxy) -> None:
    # In the gateway's place, something that says what it was sent.
    proxy.host.run(
        f"sed 's/18789/18799/; s/listen \\(\\[::\\]:\\)\\?80;/listen \\18088;/; s/443 ssl/8443 ssl/; s/openclaw_main/openclaw_echo/g' {SITE}"
        " > /etc/nginx/conf.d/echo.conf"
    )
    reload(proxy.host)
    echo = (
        "import http.server\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(self):\n  self.send_response(200)\n"
        "  self.end_headers()\n  self.wfile.write(str(self.headers).encode())\nhttp.server.HTTPServer(('127.0.0.1',18799),H).handle_request()\n"
    )
    proxy.host.write("/root/echo.py", echo)
    proxy.host.begin("python3", "/root/echo.py")
    proxy.host.eventually("ss -ltnH | grep -F 127.0.0.1:18799")
    names = (
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "X-OpenClaw-Client-CN",
        "X-OpenClaw-Scopes",
        "Tailscale-User-Login",
    )
    forged = " ".join(f"-H '{name}: forged'" for name in names)
    told = proxy.caller.host.run(
        f"curl -s -m 10 --cacert /root/now/ca.pem --cert /root/now/alice.pem --key /root/now/alice.key {forged}"
        f" https://{HOST}:8443/"
    )
    proxy.host.run("rm /etc/nginx/conf.d/echo.conf")
    reload(proxy.host)
    assert "X-Forwarded-For: " in told
    assert "forged" not in told


def test_tls_1_1_is_refused_by_the_server(proxy: Proxy) -> None:
    words = f"openssl s_client -connect {HOST}:443 -cipher DEFAULT@SECLEVEL=0"
    for version, accepted in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        told = proxy.caller.host.run(f"{words} {version} </dev/null 2>&1", check=False)
        assert ("Server certificate" in told) is accepted, told
        assert ("alert protocol version" in told) is not accepted, told


def test_a_session_cannot_be_resumed(proxy: Proxy) -> None:
    script = (
        "import socket,ssl\nc=ssl.create_default_context(cafile='/root/now/ca.pem')\n"
        "c.load_cert_chain('/root/now/alice.pem','/root/now/alice.key')\nc.maximum_version=ssl.TLSVersion.TLSv1_2\ns=None\n"
        f"for _ in range(2):\n w=c.wrap_socket(socket.create_connection(('{HOST}',443)),server_hostname='{HOST}',session=s)\n"
        " s=w.session; print(w.session_reused); w.close()\n"
    )
    proxy.caller.host.write("/root/resume.py", script)
    assert proxy.caller.host.run("python3 /root/resume.py").split() == ["False", "False"]


def test_the_gateway_itself_cannot_be_reached_from_outside(proxy: Proxy) -> None:
    assert proxy.caller.host.run(f"curl -s -m 5 http://{HOST}:18789/healthz; echo $?", check=False).strip() == "7"


def test_plain_http_leads_to_the_proxy(proxy: Proxy) -> None:
    head = proxy.caller.host.run(f"curl -sI -m 5 'http://{HOST}/chat?x=1'")
    assert head.split()[1] == "301"
    assert f"Location: https://{HOST}/chat?x=1" in head


def test_answers_carry_the_security_headers_once(proxy: Proxy) -> None:
    head = proxy.caller.ask("/", more="-D - -o /dev/null")[1].lower()
    for name in (
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "content-security-policy",
    ):
        assert head.count(f"{name}:") == 1, name
    assert "nginx/" not in head


def test_the_log_names_the_client_and_not_the_query(proxy: Proxy) -> None:
    proxy.caller.ask("/healthz?secret=of-nobody")
    line = logged(proxy.host, lambda line: line["path"] == "/healthz")
    assert (line["client"], line["status"]) == ("alice", 200)
    assert "of-nobody" not in json.dumps(line)
    assert "/var/log/nginx/*.log" in proxy.host.read("/etc/logrotate.d/nginx")


def test_too_large_and_too_many_requests_are_refused(proxy: Proxy) -> None:
    proxy.caller.host.run("truncate -s 21M /root/large")
    assert proxy.caller.ask("/tools/invoke", more="--data-binary @/root/large")[0] == 413
    many = (
        "curl -s -m 60 -o /dev/null -w '%{http_code}\\n' --cacert /root/now/ca.pem --cert /root/now/alice.pem"
        f" --key /root/now/alice.key -Z --parallel-max 50 'https://{HOST}/healthz?[1-1500]'"
    )
    statuses = proxy.caller.host.run(many, check=False).split()
    assert {"200", "429"} <= set(statuses)


# What is handed out.


def test_what_clients_need_is_on_the_controller_for_its_owner_only(proxy: Proxy) -> None:
    folder = proxy.caller.bundles / HOST
    names = {"ca.pem", *(f"{who}.{ending}" for who in ("alice", "bob") for ending in ("p12", "pem", "key"))}
    assert {path.name for path in folder.iterdir()} == names
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    key, certificate, _ = pkcs12.load_key_and_certificates((folder / "alice.p12").read_bytes(), PASSPHRASE.encode())
    assert certificate == x509.load_pem_x509_certificate((folder / "alice.pem").read_bytes())
    assert pem_of(t.cast(ec.EllipticCurvePrivateKey, key))


def test_no_key_was_in_what_the_first_run_printed(proxy: Proxy) -> None:
    assert "PRIVATE KEY" not in proxy.first.output
    assert PASSPHRASE not in proxy.first.output
    for path in (proxy.caller.bundles / HOST).glob("*.key"):
        assert path.read_text().splitlines()[1] not in proxy.first.output


def test_only_root_reads_the_keys_on_the_host(proxy: Proxy) -> None:
    assert proxy.host.run(f"stat -c '%U %a' {ETC}").split() == ["root", "700"]
    assert proxy.host.run(f"runuser -u openclaw -- cat {ETC}/server/current/key.pem 2>&1; echo $?").split()[-1] == "1"
    modes = proxy.host.run(f"find {ETC} -name '*key*' -o -name '*.p12' | xargs stat -L -c %a").split()
    assert set(modes) == {"600"}


@pytest.mark.full
def test_a_second_run_changes_nothing_and_predicts_nothing(proxy: Proxy) -> None:
    with lab.untouched(proxy.host):
        # One look proves the gateway and its mTLS proxy, even where only the gateway's own role runs.
        for tags in ("gateway,mtls", "gateway"):
            run = proxy.converge(tags=tags)
            assert run.changed(HOST) == 0, run.output
            assert set(re.findall(r"answers through the mTLS proxy\][\s*]+(\w+):", run.output)) <= {"skipping"}, (
                run.output
            )
            assert lab.squeezed(f"mTLS proxy: https://{HOST}/ for clients with a certificate") in lab.squeezed(
                run.output
            )
            assert lab.squeezed("not looked at in this run") not in lab.squeezed(run.output)
        run = proxy.play("site", "--tags", "gateway,mtls", "--check", "--diff")
        assert (run.status, run.changed(HOST)) == (0, 0), run.output


@pytest.mark.full
def test_an_mtls_proxy_that_does_not_answer_is_told_of_and_the_gateway_goes_on(proxy: Proxy) -> None:
    # It is as it should be for all that its files and systemd say.
    proxy.host.run("pkill -STOP nginx")
    try:
        with lab.untouched(proxy.host):
            run = proxy.play("site", "--tags", "gateway,mtls")
            lab.assert_refused(run, ["The gateway is unhealthy", f"https://{HOST}"])
            assert run.changed(HOST) == 0, run.output
    finally:
        proxy.host.run("pkill -CONT nginx")


@pytest.mark.full
def test_a_run_that_only_changes_the_gateway_says_that_it_did_not_look_at_the_proxy(proxy: Proxy) -> None:
    run = proxy.converge(tags="gateway", gateway_settings={"logging": {"redactPatterns": ["ours"]}})
    assert run.changed(HOST) == 1
    assert lab.squeezed("not looked at in this run") in lab.squeezed(run.output)
    proxy.converge(tags="gateway")


@pytest.mark.full
def test_the_verdict_counts_the_days(proxy: Proxy, tmp_path: Path) -> None:
    run = lab.play("health", proxy.inventory(), ANSIBLE_SHOW_CUSTOM_STATS="true", ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert run.status == 0, run.output
    stats = json.loads(run.output.partition("CUSTOM STATS:")[2].partition("RUN: ")[2])
    figures = stats["openclaw_gateways"][HOST]["figures"]
    assert (figures["certificate_days_left"], figures["clients_days_left"]) == (396, 396)
    assert (figures["ca_days_left"], figures["revocation_list_days_left"]) == (3649, 179)


# What the inventory may not say.


def bad_inputs() -> list[t.Any]:
    good, other = (
        certified("Good", -DAY, 100 * DAY, is_ca=True),
        certified("Other", -DAY, 100 * DAY, is_ca=True),
    )
    later = certified("Later", DAY, 100 * DAY, is_ca=True)
    plain = certified("Plain", -DAY, 100 * DAY)
    locked = (
        good[1]
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"right"),
        )
        .decode()
    )

    def given(certificate: str, key: str, **more: t.Any) -> dict[str, t.Any]:
        return {"mtls_ca_source": "inventory", "mtls_ca_certificate": certificate, "mtls_ca_key": key, **more}

    fine, key = text_of(good[0]), pem_of(good[1])
    rows: dict[str, tuple[dict[str, t.Any], list[str]]] = {
        "a-certificate-that-is-none": (given("none", key), ["mtls_ca_certificate", "there is no certificate in it"]),
        "a-broken-certificate": (given(fine.replace("M", "A", 3), key), ["mtls_ca_certificate", "cannot be read"]),
        "a-broken-key": (
            given(fine, key[:80] + "\n-----END PRIVATE KEY-----\n"),
            ["mtls_ca_key", "cannot be read as a private key"],
        ),
        "a-key-of-another": (given(fine, pem_of(other[1])), ["mtls_ca_key", "does not belong to the certificate"]),
        "no-ca": (given(text_of(plain[0]), pem_of(plain[1])), ["it is not one of a CA"]),
        "a-ca-that-has-not-begun": (
            given(text_of(later[0]), pem_of(later[1])),
            ["it is valid from", "Set the host's clock"],
        ),
        "a-wrong-passphrase": (
            given(fine, locked, mtls_ca_passphrase="wrong"),
            ["mtls_ca_passphrase does not open it"],
        ),
        "no-passphrase": (
            given(fine, locked),
            ["it is encrypted and there is no passphrase", "Set mtls_ca_passphrase"],
        ),
        "no-key": (given(fine, ""), ["mtls_ca_key", "it is empty"]),
        "a-name-that-clients-use-is-missing": (
            {"mtls_names": ["elsewhere.example"]},
            [f"would not carry {HOST}", "Add it to mtls_names"],
        ),
        "a-name-that-is-none": (
            {"mtls_names": [HOST, "no name"]},
            ["mtls_names: no name", "neither a host name nor an IP address"],
        ),
        "a-client-with-a-path": ({"mtls_clients": ["../../alice"]}, ["mtls_clients: ../../alice"]),
        "a-client-that-is-revoked-too": (
            {"mtls_revoked": ["bob"]},
            ["mtls_clients: bob", "mtls_revoked has the same name"],
        ),
        "the-hosts-own-name": ({"mtls_clients": ["health"]}, ["the host's own client has this name"]),
        "what-every-run-would-renew": (
            {"mtls_crl_days": 30},
            ["mtls_crl_days 30", "mtls_renew_before_days is 30", "every run would renew it"],
        ),
        "one-port-for-both": ({"mtls_http_port": 443}, ["mtls_http_port", "it is mtls_port as well"]),
        "a-port-that-is-taken": ({"mtls_port": 22}, ["mtls_port 22", "sshd", "listens on it"]),
        "the-gateways-own-port": ({"mtls_port": 18789}, ["mtls_port 18789", "openclaw-gateway.service"]),
    }
    return [pytest.param(variables, words, id=name) for name, (variables, words) in rows.items()]


@pytest.mark.full
@pytest.mark.parametrize(("variables", "words"), bad_inputs())
def test_bad_input_is_refused_and_nothing_is_touched(
    proxy: Proxy, variables: dict[str, t.Any], words: list[str]
) -> None:
    with lab.untouched(proxy.host):
        run = proxy.play("site", "--tags", "mtls", **variables)
        lab.assert_refused(run, words)
    for secret in ("PRIVATE KEY", "mtls_ca_key: -----"):
        assert secret not in run.output
    assert proxy.caller.ask("/startupz")[0] == 200


@pytest.mark.full
def test_a_key_that_is_missing_on_the_host_is_told_of(proxy: Proxy) -> None:
    proxy.host.run(f"mv {ETC}/ca/ca-1.key /root/")
    with lab.untouched(proxy.host):
        lab.assert_refused(proxy.play("site", "--tags", "mtls"), ["ca-1.key", "it is not there", "Put it back"])
    proxy.host.run(f"mv /root/ca-1.key {ETC}/ca/")


@pytest.mark.full
def test_a_wrong_word_for_what_to_rotate_is_told_of(proxy: Proxy) -> None:
    with lab.untouched(proxy.host):
        lab.assert_refused(
            proxy.play("rotate", "-e", "rotate=mtls_cat"),
            ["there is no such credential", "mtls_server, mtls_client, mtls_ca"],
        )
        lab.assert_refused(
            proxy.play("rotate", "-e", "rotate=mtls_client", "-e", "rotate_client=carol"),
            ["rotate_client carol", "alice, bob, health"],
        )


THEIRS = "server { listen 8080; return 200 theirs; }\n"


@pytest.fixture(scope="module")
def theirs(proxy: Proxy) -> str:
    """A site of the operator's own beside ours."""
    path = "/etc/nginx/sites-enabled/theirs"
    proxy.host.write(path, THEIRS)
    reload(proxy.host)
    return path


def test_settings_that_nginx_refuses_are_taken_back_and_a_site_of_the_operators_is_left_alone(
    proxy: Proxy, theirs: str
) -> None:
    with lab.untouched(proxy.host):
        run = proxy.play("site", "--tags", "mtls", mtls_requests_per_second=0)
        lab.assert_refused(
            run, ["nginx does not run with", "invalid rate", "The old files are back, and nginx runs on"]
        )
    assert proxy.caller.ask("/startupz")[0] == 200
    assert proxy.caller.host.run(f"curl -s -m 5 http://{HOST}:8080/") == "theirs"


# The operator's year.


@pytest.mark.full
def test_chat_completions_are_there_by_option(proxy: Proxy) -> None:
    body = json.dumps({"model": "openclaw", "messages": [{"role": "user", "content": "hello"}]})

    def asked(token: str) -> tuple[int, str]:
        return proxy.caller.ask("/v1/chat/completions", token=token, body=body, more="-m 60")

    assert asked(proxy.host.token())[0] == 404
    proxy.converge(tags="gateway,mtls", mtls_chat_completions=True)
    # It goes as far as to the model, which this gateway has no key for.
    told = asked(proxy.host.token())
    assert told[0] != 404
    assert "No route-compatible authentication source" in told[1], told
    assert asked("a-wrong-one") == (401, '{"error":{"message":"Unauthorized","type":"unauthorized"}}')
    proxy.converge(tags="gateway,mtls")
    assert asked(proxy.host.token())[0] == 404


@pytest.mark.full
def test_a_change_leaves_a_site_of_the_operators_alone(proxy: Proxy, theirs: str) -> None:
    proxy.converge(mtls_requests_per_second=45)
    proxy.converge()
    assert proxy.caller.host.run(f"curl -s -m 5 http://{HOST}:8080/") == "theirs"


# As somebody whom only the operator's own site knows: by its name, by ours, and with its session.
OTHER_CLIENT = """
import socket, ssl, sys
name = sys.argv[1]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.maximum_version = getattr(ssl.TLSVersion, sys.argv[2])
context.load_cert_chain("/root/now/mallory.pem", "/root/now/mallory.key")
session = None
for server, host in (("theirs", "theirs"), ("theirs", name), (None, name), (name, name)):
    answer = b""
    try:
        connection = context.wrap_socket(socket.create_connection((name, 443)), server_hostname=server, session=session)
        connection.sendall(f"GET /startupz HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
        while piece := connection.recv(4096):
            answer += piece
    except ssl.SSLError as refused:
        print(refused.reason)
        continue
    session = session or connection.session
    print(answer.split()[1].decode())
"""


@pytest.fixture
def same_port(proxy: Proxy, theirs: str) -> Iterator[None]:
    """The operator's site has our port too, and lets clients of another CA in."""
    made = certified("Their CA", -DAY, DAY, is_ca=True)
    put(proxy.caller, "mallory", certified("mallory", -DAY, DAY, made))
    proxy.host.write("/etc/nginx/theirs.pem", text_of(made[0]))
    proxy.host.write("/etc/nginx/theirs.key", pem_of(made[1]))
    proxy.host.write(
        theirs,
        "server { listen 443 ssl; server_name theirs; return 200 theirs;"
        " ssl_certificate theirs.pem; ssl_certificate_key theirs.key; ssl_client_certificate theirs.pem;"
        " ssl_verify_client on; ssl_session_cache shared:theirs:1m; ssl_session_tickets on; }\n",
    )
    reload(proxy.host)
    yield
    proxy.host.write(theirs, THEIRS)
    reload(proxy.host)
    proxy.host.run("rm /etc/nginx/theirs.*")


def test_a_site_of_the_operators_on_the_same_port_is_no_other_way_in(proxy: Proxy, same_port: None) -> None:
    proxy.caller.host.write("/root/other.py", OTHER_CLIENT)
    for version in ("TLSv1_2", "TLSv1_3"):
        known, *refused = proxy.caller.host.run(f"python3 /root/other.py {HOST} {version}").split()
        assert known == "200", version
        assert len(refused) == 3
        assert set(refused) <= {"421", "400", "TLSV1_ALERT_ACCESS_DENIED"}, (version, refused)


@pytest.mark.full
def test_a_site_of_the_operators_that_is_the_default_of_our_port_is_told_of(
    proxy: Proxy, theirs: str, same_port: None
) -> None:
    proxy.host.run(f"sed -i 's/443 ssl/443 ssl default_server/' {theirs}")
    with lab.untouched(proxy.host):
        lab.assert_refused(
            proxy.play("site", "--tags", "mtls"), ["mtls_port 443", "sites-enabled/theirs has the default server"]
        )


def test_the_servers_certificate_is_rotated_without_a_dropped_connection(proxy: Proxy) -> None:
    before = proxy.caller.serial()
    proxy.caller.hold("alice", proxy.host.token())
    run = proxy.play("rotate", "-e", "rotate=mtls_server")
    assert run.status == 0, run.output
    lab.eventually(proxy.caller.serial, lambda serial: serial != before)
    # Longer than the play: the gateway ends nothing that has answered its challenge.
    assert "closed" not in proxy.caller.held("alice")
    assert proxy.caller.call(proxy.host.token()) == 200


@pytest.mark.full
def test_a_rotation_leaves_the_next_run_nothing_to_do(proxy: Proxy) -> None:
    assert proxy.converge().changed(HOST) == 0


@pytest.mark.full
def test_any_run_renews_what_has_few_days_left(proxy: Proxy) -> None:
    before = proxy.caller.serial()
    previous = proxy.caller.give("/root/previous")
    proxy.converge(mtls_renew_before_days=397, mtls_server_days=398, mtls_client_days=398, mtls_crl_days=398)
    lab.eventually(proxy.caller.serial, lambda serial: serial != before)
    proxy.caller.give()
    assert (
        proxy.caller.host.run(
            "cmp /root/previous/alice.pem /root/now/alice.pem >/dev/null; echo $?", check=False
        ).strip()
        == "1"
    )
    # Who has not yet fetched the new one is let in with the old one.
    assert proxy.caller.ask("/startupz", folder=previous)[0] == 200
    assert proxy.caller.ask("/startupz")[0] == 200
    assert proxy.converge().changed(HOST) == 0


def test_a_revoked_client_is_disconnected_at_once(proxy: Proxy) -> None:
    proxy.caller.hold("bob", proxy.host.token())
    assert proxy.caller.ask("/startupz", who="bob")[0] == 200
    proxy.converge(mtls_clients=["alice"], mtls_revoked=["bob"])
    proxy.caller.wait_until_closed("bob")
    for folder in ("/root/now", "/root/previous"):
        status, text = proxy.caller.ask("/startupz", who="bob", folder=folder)
        assert (status, "The SSL certificate error" in text) == (400, True)
    logged(proxy.host, lambda line: "certificate revoked" in line["verified"])
    assert proxy.caller.call(proxy.host.token()) == 200
    assert list((proxy.caller.bundles / HOST).glob("bob.*")) == []
    assert proxy.host.run(f"find {ETC}/clients/bob -name 'key*' -o -name '*.p12'") == ""


@pytest.mark.full
def test_a_revocation_leaves_the_next_run_nothing_to_do(proxy: Proxy) -> None:
    assert proxy.converge(mtls_clients=["alice"], mtls_revoked=["bob"]).changed(HOST) == 0


def test_a_name_that_is_revoked_is_refused_with_an_unknown_certificate(proxy: Proxy) -> None:
    put(proxy.caller, "mallory", certified("bob", -DAY, DAY, ca(proxy.host)))
    assert proxy.caller.ask("/startupz", who="mallory")[0] == 403


@pytest.mark.full
def test_a_client_that_comes_back_gets_another_certificate_and_the_old_one_stays_refused(proxy: Proxy) -> None:
    proxy.converge()
    proxy.caller.give()
    assert proxy.caller.ask("/startupz", who="bob")[0] == 200
    assert proxy.caller.ask("/startupz", who="bob", folder="/root/previous")[0] == 400


@pytest.mark.full
def test_a_revocation_that_is_interrupted_is_finished_by_the_next_run(proxy: Proxy) -> None:
    proxy.converge()
    proxy.caller.give()
    proxy.caller.hold("bob", proxy.host.token())
    refusal: dict[str, t.Any] = {"mtls_clients": ["alice"], "mtls_revoked": ["bob"]}
    before = proxy.host.read(f"{ETC}/crl.pem")
    with tempfile.TemporaryDirectory(prefix="cp") as sockets:
        play = lab.start_play(
            "site", proxy.inventory(**refusal), "--tags", "mtls", ANSIBLE_SSH_CONTROL_PATH_DIR=sockets
        )
        # Both are written, and no client is disconnected yet: nginx is only told by a later task.
        proxy.host.eventually(f"test -e {ETC}/disconnecting", seconds=120)
        lab.eventually(lambda: proxy.host.read(f"{ETC}/crl.pem"), lambda now: now != before, every=0.02)
        lab.kill_controller(play, sockets)
    # The list has him already, and a look at it alone would find that there is nothing left to do.
    assert "closed" not in proxy.caller.held("bob")
    reload(proxy.host)
    proxy.converge(**refusal)
    proxy.caller.wait_until_closed("bob")
    assert proxy.converge(**refusal).changed(HOST) == 0
    proxy.converge()


@pytest.mark.full
def test_a_rotated_clients_old_certificate_is_refused(proxy: Proxy) -> None:
    proxy.caller.give("/root/previous")
    run = proxy.play("rotate", "-e", "rotate=mtls_client", "-e", "rotate_client=alice")
    assert run.status == 0, run.output
    proxy.caller.give()
    assert proxy.caller.ask("/startupz", folder="/root/previous")[0] == 400
    assert proxy.caller.ask("/startupz", who="bob", folder="/root/previous")[0] == 200
    assert proxy.caller.ask("/startupz")[0] == 200
    assert proxy.converge().changed(HOST) == 0


@pytest.mark.full
def test_an_expired_revocation_list_is_told_of_and_renewed(proxy: Proxy) -> None:
    certificate, key = ca(proxy.host)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(now - 9 * DAY)
        .next_update(now - DAY)
    )
    proxy.host.write(
        f"{ETC}/crl.pem", made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    )
    reload(proxy.host)
    run = proxy.play("health")
    assert run.status != 0
    assert lab.squeezed("the revocation list of the mTLS proxy: it has expired") in lab.squeezed(run.output)
    assert proxy.caller.ask("/startupz")[0] == 400
    proxy.converge()
    assert proxy.caller.ask("/startupz")[0] == 200
    assert proxy.play("health").status == 0


@pytest.mark.full
def test_an_mtls_proxy_that_is_stopped_is_told_of(proxy: Proxy) -> None:
    proxy.host.run("systemctl stop nginx")
    run = proxy.play("health")
    assert run.status != 0
    assert lab.squeezed(f"https://{HOST}:443: nothing listens there") in lab.squeezed(run.output)
    proxy.converge()
    assert proxy.caller.ask("/startupz")[0] == 200


@pytest.mark.full
def test_while_the_ca_changes_clients_of_both_are_let_in(proxy: Proxy) -> None:
    previous = proxy.caller.give("/root/previous")
    run = proxy.play("rotate", "-e", "rotate=mtls_ca")
    assert run.status == 0, run.output
    now = proxy.caller.give()
    # The new one alone, which is what is left after the overlap.
    alone = first_certificate((proxy.caller.bundles / HOST / "ca.pem").read_text())
    proxy.caller.host.run(f"cp -r {now} /root/alone")
    proxy.caller.host.write("/root/alone/ca.pem", alone)
    for folder in (previous, now, "/root/alone"):
        assert proxy.caller.call(proxy.host.token(), folder=folder) == 200, folder
    assert proxy.converge().changed(HOST) == 0
    # A rotation in between keeps both.
    assert proxy.play("rotate", "-e", "rotate=mtls_server").status == 0
    for folder in (previous, "/root/alone"):
        assert proxy.caller.call(proxy.host.token(), folder=folder) == 200, folder
    with lab.untouched(proxy.host):
        again = proxy.play("rotate", "-e", "rotate=mtls_ca")
        lab.assert_refused(again, ["rotate=mtls_ca", "clients of ca-1 are let in until", "Run site.yml"])


def first_certificate(text: str) -> str:
    return text.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"


@pytest.mark.full
def test_the_previous_ca_is_removed_when_the_overlap_is_over(proxy: Proxy) -> None:
    proxy.converge(mtls_ca_overlap_days=0)
    assert proxy.caller.ask("/startupz", folder="/root/alone")[0] == 200
    assert proxy.caller.ask("/startupz", more="--cacert /root/alone/ca.pem", folder="/root/previous")[0] == 400
    assert proxy.host.run(f"ls {ETC}/ca").split() == ["ca-2.cross", "ca-2.key", "ca-2.pem"]
    assert proxy.converge().changed(HOST) == 0


@pytest.mark.full
def test_a_ca_of_the_controller_never_gets_to_the_host(proxy: Proxy, tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    given: dict[str, t.Any] = {
        "mtls_ca_source": "controller",
        "mtls_ca_path": str(folder),
        "mtls_ca_passphrase": "opens-it",
    }
    proxy.converge(**given)
    assert stat.S_IMODE((folder / "ca-1.key").stat().st_mode) == 0o600
    assert "ENCRYPTED" in (folder / "ca-1.key").read_text()
    proxy.caller.give()
    assert proxy.caller.call(proxy.host.token()) == 200
    line = (folder / "ca-1.key").read_text().splitlines()[-2]  # the last one of the key itself
    assert proxy.host.run(f"grep -rlF -- '{line}' /etc /tmp /root /var/tmp 2>/dev/null", check=False) == ""
    assert proxy.converge(**given).changed(HOST) == 0
    run = proxy.play("rotate", "-e", "rotate=mtls_ca", **given)
    assert run.status == 0, run.output
    assert proxy.caller.call(proxy.host.token()) == 200
    (folder / "ca-2.key").unlink()
    with lab.untouched(proxy.host):
        lab.assert_refused(proxy.play("site", "--tags", "mtls", **given), ["ca-2.key", "it is not there"])


@pytest.mark.full
def test_a_ca_of_the_inventory_is_changed_by_it(proxy: Proxy) -> None:
    one, two = (certified(name, -DAY, 1000 * DAY, is_ca=True) for name in ("One", "Two"))
    first: dict[str, t.Any] = {
        "mtls_ca_source": "inventory",
        "mtls_ca_certificate": text_of(one[0]),
        "mtls_ca_key": pem_of(one[1]),
    }
    run = proxy.converge(**first)
    assert pem_of(one[1]).splitlines()[1] not in run.output
    previous = proxy.caller.give("/root/previous")
    assert proxy.caller.call(proxy.host.token(), folder=previous) == 200
    with lab.untouched(proxy.host):
        lab.assert_refused(
            proxy.play("rotate", "-e", "rotate=mtls_ca", **first), ["mtls_ca_source is inventory", "mtls_ca_previous"]
        )
    second = {
        **first,
        "mtls_ca_certificate": text_of(two[0]),
        "mtls_ca_key": pem_of(two[1]),
        "mtls_ca_previous": [text_of(one[0])],
    }
    proxy.converge(**second)
    now = proxy.caller.give()
    for folder in (previous, now):
        assert proxy.caller.call(proxy.host.token(), folder=folder) == 200, folder
    assert proxy.converge(**second).changed(HOST) == 0
    proxy.converge(**{**second, "mtls_ca_previous": []})
    assert proxy.caller.ask("/startupz", folder=previous, more=f"--cacert {now}/ca.pem")[0] in (0, 400)
    proxy.caller.give()
    assert proxy.caller.call(proxy.host.token()) == 200


@pytest.mark.full
def test_an_mtls_proxy_that_is_removed_leaves_the_operators_site(proxy: Proxy) -> None:
    proxy.converge(tags="gateway,mtls", mtls_state="absent")
    assert proxy.caller.ask("/startupz")[0] == 0
    assert proxy.caller.host.run(f"curl -s -m 5 http://{HOST}:8080/") == "theirs"
    assert "trustedProxies" not in proxy.host.settings()["gateway"]
    assert "ca.pem" in proxy.host.run(f"ls {ETC}")
    assert proxy.converge(mtls_state="absent").changed(HOST) == 0
    assert proxy.play("health").status == 0


@pytest.mark.full
def test_retiring_takes_an_nginx_away_that_nobody_else_needs(proxy: Proxy) -> None:
    proxy.host.run("rm -f /etc/nginx/sites-enabled/theirs")
    proxy.converge(tags="gateway,mtls")
    run = proxy.play("retire", "-e", "retire_purge=true")
    assert run.status == 0, run.output
    assert "nginx " not in proxy.host.run("dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep -w installed")
    assert proxy.host.run("ls -d /etc/openclaw/main 2>&1; echo $?", check=False).split()[-1] == "2"
