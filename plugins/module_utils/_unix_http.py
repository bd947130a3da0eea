# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""A question over HTTP to a daemon that listens on a Unix socket: no process is started, no client needed."""

from __future__ import annotations

import http.client
import json
import socket
import typing as t


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, host: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, what: str, timeout: float = 10, host: str = "localhost") -> tuple[int, t.Any]:
    """Status and JSON of a GET; status 0 where nothing answers.

    :param path: the socket.
    :param what: path of the API, as ``/_ping``.
    :param timeout: in seconds.
    :param host: the name that the daemon wants to be called by.
    """
    connection = _Connection(path, host, timeout)
    try:
        connection.request("GET", what)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None


__all__ = ("ask",)
