# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""A small HTTP/1.1 client that says how a request failed, not only that it did.

It exists because a verdict needs what the usual clients hide: refused, unanswered and closed told apart, one deadline
for the whole exchange, the certificate that the server showed, and the first frame of a WebSocket. It follows no
redirect, reads no proxy variable and keeps no connection.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import socket
import ssl
import time
import typing as t
import urllib.parse

from ansible_collections.clawops.openclaw.plugins.module_utils import _peer
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 1024 * 1024
AGENT = "clawops-gateway-health"

_WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT_FRAME = 0x81  # the final fragment of a text message
_PROTOCOL = b"HTTP/1."
_CLOSE_NORMALLY = b"\x88\x82\x00\x00\x00\x00\x03\xe8"

Failure = t.Literal[
    "unresolved", "refused", "unroutable", "connect-timeout", "answer-timeout", "closed", "tls", "garbled", "foreign"
]


class HttpFailure(Exception):
    """A request that brought no answer.

    :param kind: at which step it failed.
    :param detail: what the operating system, the TLS library or this client has to say about it.
    """

    def __init__(self, kind: Failure, detail: str) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(f"{kind}: {detail}")


class Origin(t.NamedTuple):
    """Where a gateway is: the part of a URL before the path."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Answer(t.NamedTuple):
    """What the server sent: a status line, headers with names in lower case, a body, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    latency_ms: float
    # When the certificate that the server showed expires, in seconds since the epoch.
    not_after: float | None = None


def parse_url(url: str) -> Origin:
    """The origin of ``url``; anything beyond an origin is refused, because the paths are the gateway's own."""

    def refused(reason: str) -> OpenClawError:
        return OpenClawError("url", reason, "Write it as http://127.0.0.1:18789 or https://gateway.example.com.")

    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused("it cannot be read as a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused("it is not an http or https URL with a host")
    # The value is not repeated: a password may stand in it.
    if parts.username is not None or parts.password is not None:
        raise refused("it holds a user name or a password")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refused("it holds more than scheme, host and port")
    return Origin(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))


class Client:
    """Sends requests to one origin, each on a connection of its own, each with one deadline for all its steps.

    :param url: scheme, host and port.
    :param timeout: seconds for one request, from the connection to the end of the answer.
    :param ca_path: PEM file or directory with the CAs to trust; without it the host's own.
    :param client_cert: PEM file with the certificate to show, ``client_key`` its unencrypted key.
    :param server_name: the name that the server's certificate must carry, where it is not the URL's host.
    :param connect_to: the address to connect to, where it is not the URL's host that is to be asked for it.
    :param unit: the systemd service of this host that must have accepted a connection before a token is sent on it.
        Needs root, and an address of this host.
    """

    def __init__(
        self,
        *,
        url: str,
        timeout: float,
        ca_path: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        server_name: str | None = None,
        connect_to: str | None = None,
        unit: str | None = None,
    ) -> None:
        self.origin = parse_url(url)
        self.unit = unit
        self.connect_to = connect_to or self.origin.host
        self.timeout = timeout
        self.server_name = server_name or self.origin.host
        self.ca_path = ca_path
        self.context = _tls_context(ca_path, client_cert, client_key) if self.origin.scheme == "https" else None

    def anonymous(self) -> Client:
        """The same client without a certificate to show."""
        if not self.context:
            raise OpenClawError(
                str(self.origin), "a client certificate can only be required with TLS", "Give an https url."
            )
        return Client(
            url=str(self.origin),
            timeout=self.timeout,
            ca_path=self.ca_path,
            server_name=self.server_name,
            connect_to=self.connect_to,
        )

    def request(self, path: str, *, token: str | None = None, body: bytes | None = None, patience: float = 0) -> Answer:
        """One GET, or POST where there is a body; ``patience`` seconds are added to the client's timeout."""
        method = "GET" if body is None else "POST"
        headers = {"Connection": "close", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        with _connected(self, self.timeout + patience) as connection:
            if token is not None and self.unit:
                connection.prove(self.unit)
            connection.send(self._head(method, path, headers) + (body or b""))
            status, answered = connection.read_head()
            return connection.answer(status, answered, connection.read_body(status, answered))

    def first_message(self, path: str) -> Answer:
        """The first text message of a WebSocket as a body, or the answer of a server that does not switch protocols."""
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
        with _connected(self, self.timeout) as connection:
            connection.send(self._head("GET", path, headers))
            status, answered = connection.read_head()
            if status != 101:
                return connection.answer(status, answered, connection.read_body(status, answered))
            if answered.get("sec-websocket-accept") != accept_key(key):
                raise HttpFailure("garbled", "the server switched protocols with a wrong Sec-WebSocket-Accept")
            message = connection.read_text_frame()
            connection.farewell(_CLOSE_NORMALLY)
            return connection.answer(status, answered, message)

    def _head(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.origin.authority}", f"User-Agent: {AGENT}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _tls_context(ca_path: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    """A context that verifies chain and name."""
    try:
        directory = ca_path if ca_path and os.path.isdir(ca_path) else None
        context = ssl.create_default_context(cafile=None if directory else ca_path, capath=directory)
    except (OSError, ssl.SSLError) as exc:
        remedy = "Give a PEM file with the certificate of the CA."
        raise OpenClawError(f"ca_path {ca_path}", _words(exc), remedy) from None
    if client_cert:
        try:
            # An encrypted key would ask for its password on the terminal.
            context.load_cert_chain(client_cert, client_key, password=lambda: "")
        except (OSError, ssl.SSLError) as exc:
            remedy = "Give a PEM certificate and its unencrypted key, readable on the host."
            raise OpenClawError(f"client_cert {client_cert}", _words(exc), remedy) from None
    return context


def accept_key(key: str) -> str:
    """What a server must answer to a ``Sec-WebSocket-Key``, so that no cache or plain web server is taken for one."""
    digest = hashlib.sha1((key + _WEBSOCKET_GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


@contextlib.contextmanager
def _connected(client: Client, seconds: float) -> t.Iterator[_Connection]:
    """A connection to the client's origin, secured where it has a context, and closed in the end."""
    deadline = time.monotonic() + seconds
    try:
        plain = socket.create_connection((client.connect_to, client.origin.port), timeout=seconds)
    except socket.gaierror as exc:
        raise HttpFailure("unresolved", _words(exc)) from None
    except TimeoutError:
        raise HttpFailure("connect-timeout", f"no answer within {seconds:g} s") from None
    except ConnectionRefusedError as exc:
        raise HttpFailure("refused", _words(exc)) from None
    except (OSError, UnicodeError) as exc:
        raise HttpFailure("unroutable", _words(exc)) from None
    connection = _Connection(plain, deadline, seconds)
    try:
        if client.context:
            connection.secure(client.context, client.server_name)
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def unix_connection(path: str, seconds: float) -> t.Iterator[_Connection]:
    """A connection to a Unix socket, closed in the end.

    :param seconds: for all that is sent and received on it.
    """
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        plain.settimeout(seconds)
        plain.connect(path)
        yield _Connection(plain, deadline, seconds)


class _Connection:
    """A socket with a deadline: a server that sends a byte a second does not hold us longer than one that is silent."""

    def __init__(self, plain: socket.socket, deadline: float, seconds: float) -> None:
        self._socket = plain
        self._deadline = deadline
        self._seconds = seconds
        self._buffer = b""

    def secure(self, context: ssl.SSLContext, server_name: str) -> None:
        self._socket = self._guarded(lambda plain: context.wrap_socket(plain, server_hostname=server_name))

    def prove(self, unit: str) -> None:
        """Show that a process of this systemd service is at the other end."""
        try:
            self._guarded(lambda connected: _peer.prove(connected, unit, self._deadline))
        except _peer.Foreign as exc:
            raise HttpFailure("foreign", f"{exc} has the port, no process of {unit}") from None

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._guarded(lambda connected: connected.sendall(data))

    def farewell(self, data: bytes) -> None:
        """Send the last words; a server that is gone already is no failure."""
        with contextlib.suppress(HttpFailure):
            self.send(data)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> Answer:
        latency_ms = round((time.monotonic() - self._deadline + self._seconds) * 1000, 1)
        shown = self._socket.getpeercert() if isinstance(self._socket, ssl.SSLSocket) else None
        expiry = (shown or {}).get("notAfter")
        return Answer(
            status, headers, body, latency_ms, ssl.cert_time_to_seconds(expiry) if isinstance(expiry, str) else None
        )

    def read_head(self) -> tuple[int, dict[str, str]]:
        # Looked at before the end of the head: a server of another protocol says a line and waits for ours.
        while len(self._buffer) < len(_PROTOCOL):
            self._buffer += self._received()
            if not self._buffer.startswith(_PROTOCOL[: len(self._buffer)]):
                raise HttpFailure("garbled", "the answer does not begin as HTTP/1 does")
        head = self._read_until(b"\r\n\r\n", HEAD_LIMIT).decode("latin-1")
        status_line, *lines = head.split("\r\n")
        status = status_line.partition(" ")[2][:3]
        if not re.fullmatch("[1-5][0-9]{2}", status):
            raise HttpFailure("garbled", "the answer has no HTTP status")
        pairs = (line.partition(":") for line in lines)
        return int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def read_body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._read_chunks()
        length = headers.get("content-length")
        if length is None:
            return self._read_to_end()
        return self._read_exactly(_size(length, 10))

    def read_text_frame(self) -> bytes:
        first, second = self._read_exactly(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._read_exactly(2 if length == 126 else 8), "big")
        # A server does not mask (RFC 6455, 5.1), so the top bit of the length must be clear.
        if first != _TEXT_FRAME or second & 0x80 or length > BODY_LIMIT:
            raise HttpFailure("garbled", "the first WebSocket frame is not a whole text message")
        return self._read_exactly(length)

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := _size(self._read_until(b"\r\n", HEAD_LIMIT).partition(b";")[0].decode("latin-1"), 16):
            body += self._read_exactly(size)
            if self._read_exactly(2) != b"\r\n" or len(body) > BODY_LIMIT:
                raise HttpFailure("garbled", "the body is not in well-formed chunks, or too long")
        return bytes(body)

    def _read_until(self, mark: bytes, limit: int) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > limit:
                raise HttpFailure("garbled", f"more than {limit} bytes without the end of a header")
            self._buffer += self._received()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _read_exactly(self, size: int) -> bytes:
        pieces, missing = [self._buffer], size - len(self._buffer)
        while missing > 0:
            pieces.append(self._received())
            missing -= len(pieces[-1])
        whole = b"".join(pieces)
        self._buffer = whole[size:]
        return whole[:size]

    def _read_to_end(self) -> bytes:
        body = bytearray(self._buffer)
        while piece := self._guarded(lambda connected: connected.recv(65536)):
            body += piece
            if len(body) > BODY_LIMIT:
                raise HttpFailure("garbled", f"the body is longer than {BODY_LIMIT} bytes")
        return bytes(body)

    def _received(self) -> bytes:
        piece: bytes = self._guarded(lambda connected: connected.recv(65536))
        if not piece:
            raise HttpFailure("closed", "the server closed the connection before the answer was complete")
        return piece

    def _guarded(self, step: t.Callable[[socket.socket], t.Any]) -> t.Any:
        """Run a step on the socket within what is left of the deadline; every way to fail becomes an HttpFailure."""
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            return step(self._socket)
        except TimeoutError:
            raise HttpFailure("answer-timeout", f"no complete answer within {self._seconds:g} s") from None
        except ssl.SSLError as exc:
            raise HttpFailure("tls", _words(exc)) from None
        except OSError as exc:
            raise HttpFailure("closed", _words(exc)) from None


def _size(text: str, base: int) -> int:
    """A length that a server announces, if it is one and not beyond what we are ready to read."""
    try:
        size = int(text.strip(), base)
    except ValueError:
        size = -1
    if not 0 <= size <= BODY_LIMIT:
        raise HttpFailure("garbled", f"the server announces a body that is not between 0 and {BODY_LIMIT} bytes long")
    return size


def _words(exc: Exception) -> str:
    """An error of the socket or TLS library as a phrase, without its numbers."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message.rstrip(".")
    if isinstance(exc, ssl.SSLError) and exc.reason:
        return exc.reason.replace("_", " ").lower()
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror[:1].lower() + exc.strerror[1:]
    return type(exc).__name__


__all__ = ("Answer", "Client", "HttpFailure", "Origin", "accept_key", "parse_url", "unix_connection")
