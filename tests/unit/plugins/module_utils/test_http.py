# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against servers on loopback that say exactly what a test wants, byte by byte."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.clawops.openclaw.plugins.module_utils import _http as http
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._http import Client, HttpFailure

Handler = Callable[[socket.socket], None]
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


@contextlib.contextmanager
def served(handle: Handler, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A stand-in server that gives every connection to ``handle``; yields its host and port."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                handle(context.wrap_socket(connection, server_side=True) if context else connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Not waited for in the end: what a slow server still has to say interests nobody.
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        # Closing alone does not wake up accept().
        listener.shutdown(socket.SHUT_RDWR)


def request_in(connection: socket.socket) -> bytes:
    """The head of a request, and what came with it."""
    received = b""
    while b"\r\n\r\n" not in received and (piece := connection.recv(65536)):
        received += piece
    return received


def says(*pieces: bytes, pause: float = 0) -> Handler:
    """A server that reads the request, says these bytes and hangs up."""

    def handle(connection: socket.socket) -> None:
        request_in(connection)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    return handle


def ask(place: str, *, timeout: float = 5.0, scheme: str = "http", **options: str) -> http.Answer:
    return Client(url=f"{scheme}://{place}", timeout=timeout, **options).request("/startupz")


def failure(place: str, **options: object) -> HttpFailure:
    with pytest.raises(HttpFailure) as error:
        ask(place, **options)  # type: ignore[arg-type]
    return error.value


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        pytest.param("http://127.0.0.1:18789", ("http", "127.0.0.1", 18789), id="with-port"),
        pytest.param("https://gw.example.com/", ("https", "gw.example.com", 443), id="https-port"),
        pytest.param("http://gw", ("http", "gw", 80), id="http-port"),
        pytest.param("http://[::1]:18789", ("http", "::1", 18789), id="ipv6"),
    ],
)
def test_a_url_is_read_as_an_origin(url, origin):
    assert http.parse_url(url) == origin


def test_an_ipv6_address_keeps_its_brackets_in_the_host_header():
    assert http.parse_url("http://[::1]:18789").authority == "[::1]:18789"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("127.0.0.1:18789", id="no-scheme"),
        pytest.param("ws://127.0.0.1", id="other-scheme"),
        pytest.param("http://", id="no-host"),
        pytest.param("http://gw:99999", id="port-too-large"),
        pytest.param("http://gw:p0rt", id="port-not-a-number"),
        pytest.param("http://[::1", id="torn-bracket"),
        pytest.param("http://gw/base", id="path"),
        pytest.param("http://gw?token=hunter2", id="query"),
        pytest.param("http://gw#hunter2", id="fragment"),
        pytest.param("http://ops:hunter2@gw", id="password"),
    ],
)
def test_a_url_that_is_more_or_less_than_an_origin_is_refused_without_quoting_it(url):
    with pytest.raises(OpenClawError, match="Write it as http://") as error:
        http.parse_url(url)
    assert "hunter2" not in str(error.value)


def test_a_request_says_who_asks_and_keeps_no_connection():
    requests = []

    def handle(connection: socket.socket) -> None:
        requests.append(request_in(connection))
        connection.sendall(OK)

    with served(handle) as place:
        Client(url=f"http://{place}", timeout=5).request("/tools/invoke", token="abc", body=b"{}")
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /tools/invoke HTTP/1.1",
        b"Host: " + place.encode(),
        b"User-Agent: clawops-gateway-health",
        b"Connection: close",
        b"Accept: application/json",
        b"Authorization: Bearer abc",
        b"Content-Type: application/json",
        b"Content-Length: 2",
    ]
    assert body == b"{}"


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        pytest.param([OK], 200, b'{"ok":true}', id="with-length"),
        pytest.param([OK[i : i + 1] for i in range(len(OK))], 200, b'{"ok":true}', id="byte-by-byte"),
        pytest.param([b"HTTP/1.0 404 Not Found\r\n\r\n", b"gone"], 404, b"gone", id="until-closed"),
        pytest.param([b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n"], 503, b"", id="no-phrase"),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b"", id="no-content"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n{", b'"a"\r\n3\r\n:1}\r\n0\r\n\r\n'],
            200,
            b'{"a":1}',
            id="chunked",
        ),
    ],
)
def test_a_body_is_read_to_its_end(pieces, status, body):
    with served(says(*pieces)) as place:
        answer = ask(place)
    assert (answer.status, answer.body) == (status, body)


def test_header_names_are_found_in_lower_case():
    with served(says(OK)) as place:
        assert ask(place).headers["content-type"] == "application/json"


def test_the_latency_is_that_of_the_whole_exchange():
    with served(says(OK[:20], OK[20:], pause=0.1)) as place:
        assert 100 <= ask(place).latency_ms < 5000


def test_nothing_that_listens_is_told_as_refused():
    with served(says(OK)) as place:
        pass
    assert failure(place).kind == "refused"


def test_a_name_that_does_not_exist_is_told_as_unresolved():
    assert failure("gateway.invalid:1", timeout=20).kind == "unresolved"


@pytest.mark.parametrize(
    ("handle", "kind"),
    [
        pytest.param(says(), "closed", id="hangs-up"),
        pytest.param(says(OK[:-3]), "closed", id="hangs-up-in-the-body"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nX"), "closed", id="hangs-up-in-the-head"),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.2\r\n", b"", pause=5), "garbled", id="another-protocol-that-waits"),
        pytest.param(says(b"hi"), "garbled", id="another-protocol-that-hangs-up"),
        pytest.param(says(b"HTTP/1.1 abc\r\n\r\n"), "garbled", id="no-status"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "garbled", id="length-not-a-number"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "garbled", id="negative-length"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"), "garbled", id="huge-length"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n"), "garbled", id="torn-chunk"
        ),
        pytest.param(
            says(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"80000\r\n" + b"x" * 0x80000 + b"\r\n"] * 3
            ),
            "garbled",
            id="endless-chunks",
        ),
        pytest.param(says(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 500_000] * 5), "garbled", id="endless-body"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 10_000] * 3), "garbled", id="endless-head"),
    ],
)
def test_what_is_not_a_whole_http_answer_is_told_apart(handle, kind):
    with served(handle) as place:
        assert failure(place).kind == kind


def test_a_silent_server_is_left_at_the_deadline():
    with served(says(b"", pause=5)) as place:
        started = time.monotonic()
        assert failure(place, timeout=0.3).kind == "answer-timeout"
        assert time.monotonic() - started < 3


def test_a_server_that_trickles_is_left_at_the_same_deadline():
    with served(says(*[OK[i : i + 1] for i in range(50)], pause=0.1)) as place:
        started = time.monotonic()
        assert failure(place, timeout=0.3).kind == "answer-timeout"
        assert time.monotonic() - started < 3


def test_patience_moves_the_deadline_of_one_request():
    with served(says(b"", OK, pause=0.4)) as place:
        assert Client(url=f"http://{place}", timeout=0.1).request("/", patience=5).status == 200


def upgraded(
    *frames: bytes, accept: Callable[[str], str] = http.accept_key, heard: list[bytes] | None = None
) -> Handler:
    """A server that switches to WebSocket and sends these bytes."""

    def handle(connection: socket.socket) -> None:
        key = request_in(connection).partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        connection.sendall(f"{head}Sec-WebSocket-Accept: {accept(key)}\r\n\r\n".encode() + b"".join(frames))
        if heard is not None:
            heard.append(connection.recv(100))

    return handle


def test_the_accept_key_is_that_of_the_standard():
    # The example in RFC 6455, section 1.3.
    assert http.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("length", "header"),
    [
        pytest.param(5, b"\x81\x05", id="short"),
        pytest.param(300, b"\x81\x7e" + struct.pack("!H", 300), id="two-byte-length"),
        pytest.param(70_000, b"\x81\x7f" + struct.pack("!Q", 70_000), id="eight-byte-length"),
    ],
)
def test_the_first_message_of_a_websocket_is_read_whole(length, header):
    with served(upgraded(header, b"m" * length)) as place:
        answer = Client(url=f"http://{place}", timeout=5).first_message("/")
    assert (answer.status, answer.body) == (101, b"m" * length)


def test_a_websocket_is_closed_in_order():
    heard: list[bytes] = []
    with served(upgraded(b"\x81\x02{}", heard=heard)) as place:
        Client(url=f"http://{place}", timeout=5).first_message("/")
        # The stand-in hears it in a thread of its own, later than the client has said it.
        deadline = time.monotonic() + 30
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
    # A close frame, masked with zeroes as a client must, with status 1000.
    assert heard == [b"\x88\x82\x00\x00\x00\x00\x03\xe8"]


def test_a_server_that_does_not_switch_protocols_is_read_as_any_other():
    with served(says(OK)) as place:
        assert Client(url=f"http://{place}", timeout=5).first_message("/").status == 200


@pytest.mark.parametrize(
    ("handle", "kind"),
    [
        pytest.param(upgraded(b"\x81\x02{}", accept=lambda key: key), "garbled", id="forged-accept"),
        pytest.param(upgraded(b"\x82\x02{}"), "garbled", id="binary-frame"),
        pytest.param(upgraded(b"\x01\x02{}"), "garbled", id="fragment"),
        pytest.param(upgraded(b"\x81\x82\x00\x00\x00\x00{}"), "garbled", id="masked"),
        pytest.param(upgraded(b"\x81\x7f" + struct.pack("!Q", 2**40)), "garbled", id="huge"),
        pytest.param(upgraded(b"\x81\x05{"), "closed", id="torn"),
        pytest.param(upgraded(), "closed", id="no-message"),
    ],
)
def test_a_websocket_that_does_not_begin_with_a_text_message_is_told(handle, kind):
    with served(handle) as place, pytest.raises(HttpFailure) as error:
        Client(url=f"http://{place}", timeout=5).first_message("/")
    assert error.value.kind == kind


class CA:
    """A CA in a directory; strict enough for Python 3.13 and newer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self.name, self.key, days=100)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.ca_path = self._write("ca", builder.add_extension(usage, critical=True), self.key)

    def issue(self, name: str, *, days: int = 90) -> str:
        """The path of a PEM file with key and certificate for a host name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, days=days)
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        return self._write(name, builder.add_extension(both, critical=False), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=self.name, public_key=key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(200))
        builder = builder.not_valid_after(now + datetime.timedelta(days))
        return builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)

    def _write(self, name: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> str:
        path = self.directory / f"{name}.pem"
        certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate)
        return str(path)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CA:
    return CA(tmp_path_factory.mktemp("ca"))


def server_context(certificate: str, clients: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_trusted_server_answers_and_shows_when_its_certificate_ends(ca):
    with served(says(OK), server_context(ca.issue("127.0.0.1", days=40))) as place:
        answer = ask(place, scheme="https", ca_path=ca.ca_path)
    assert answer.body == b'{"ok":true}'
    assert answer.not_after is not None
    assert answer.not_after - time.time() == pytest.approx(40 * 86400, abs=300)


def test_without_tls_there_is_no_certificate_to_look_at():
    with served(says(OK)) as place:
        assert ask(place).not_after is None


def test_the_expected_name_can_differ_from_the_host_of_the_url(ca):
    with served(says(OK), server_context(ca.issue("gw.example.com"))) as place:
        assert ask(place, scheme="https", ca_path=ca.ca_path, server_name="gw.example.com").status == 200


@pytest.mark.parametrize(
    ("name", "days", "trusted", "words"),
    [
        pytest.param("127.0.0.1", -1, True, "certificate has expired", id="expired"),
        pytest.param("gw.example.com", 90, True, "mismatch", id="another-name"),
        pytest.param("127.0.0.1", 90, False, "local issuer certificate", id="unknown-ca"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_told(ca, tmp_path, name, days, trusted, words):
    ca_path = ca.ca_path if trusted else CA(tmp_path).ca_path
    with served(says(OK), server_context(ca.issue(name, days=days))) as place:
        error = failure(place, scheme="https", ca_path=ca_path)
    assert error.kind == "tls"
    assert words in error.detail


def test_https_to_a_port_without_tls_is_a_failure_of_tls(ca):
    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with served(handle) as place:
        assert failure(place, scheme="https", ca_path=ca.ca_path).kind == "tls"


def test_a_tls_handshake_has_the_same_deadline(ca):
    with served(lambda connection: time.sleep(5)) as place:
        started = time.monotonic()
        assert failure(place, scheme="https", timeout=0.3, ca_path=ca.ca_path).kind == "answer-timeout"
        assert time.monotonic() - started < 3


def test_a_client_with_a_certificate_is_answered_and_an_anonymous_one_is_not(ca):
    context = server_context(ca.issue("127.0.0.1"), clients=ca.ca_path)
    probe = ca.issue("probe")
    with served(says(OK), context) as place:
        client = Client(url=f"https://{place}", timeout=5, ca_path=ca.ca_path, client_cert=probe, client_key=probe)
        assert client.request("/startupz").status == 200
        with pytest.raises(HttpFailure) as error:
            client.anonymous().request("/startupz")
    assert error.value.kind in ("tls", "closed")


def test_a_client_certificate_makes_no_sense_without_tls():
    with pytest.raises(OpenClawError, match="only be required with TLS"):
        Client(url="http://127.0.0.1:1", timeout=1).anonymous()


@pytest.mark.parametrize("argument", ["ca_path", "client_cert"])
@pytest.mark.parametrize("content", [pytest.param(None, id="missing"), pytest.param("no PEM", id="not-a-certificate")])
def test_an_unusable_certificate_file_is_named(argument, content, tmp_path):
    path = tmp_path / "file.pem"
    if content:
        path.write_text(content)
    with pytest.raises(OpenClawError, match=f"{argument} {path}: "):
        Client(url="https://127.0.0.1:1", timeout=1, **{argument: str(path)})


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(ca, tmp_path):
    probe = ca.issue("locked")
    key = serialization.load_pem_private_key(Path(probe).read_bytes(), password=None)
    path = tmp_path / "encrypted.pem"
    locked = serialization.BestAvailableEncryption(b"hunter2")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(OpenClawError, match="unencrypted key"):
        Client(url="https://127.0.0.1:1", timeout=1, client_cert=probe, client_key=str(path))


def test_a_directory_of_cas_is_taken_as_one(ca, tmp_path):
    # Empty, so that nothing is trusted; a directory taken for a file would be refused as unreadable.
    with served(says(OK), server_context(ca.issue("127.0.0.1"))) as place:
        assert failure(place, scheme="https", ca_path=str(tmp_path)).kind == "tls"
