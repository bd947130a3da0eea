# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""A question over HTTP to a daemon that listens on a Unix socket: no process is started, no client needed."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.clawops.openclaw.plugins.module_utils import _http, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._text import parse_json

# Seconds for one question, from the connection to the end of the answer: what a daemon on a busy host needs, five times over.
SECONDS = 10.0


def ask(
    path: str,
    what: str,
    timeout: float = SECONDS,
    host: str = "localhost",
    account: _store.Account | None = None,
) -> tuple[int, t.Any]:
    """Status and JSON of a GET; status 0 where nothing answers in time, or more than a daemon has to say.

    :param path: the socket.
    :param what: path of the API, as ``/_ping``.
    :param timeout: in seconds, for the whole of it.
    :param host: the name that the daemon wants to be called by.
    :param account: whose daemon it is, where it is not root's: the socket is reached with its rights.
    """
    try:
        with _store.rights_of(account), _http.unix_connection(path, timeout) as connection:
            connection.send(f"GET {what} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            status, headers = connection.read_head()
            body = connection.read_body(status, headers)
    except (OSError, _http.HttpFailure):
        return 0, None
    with contextlib.suppress(ValueError):
        return status, parse_json(body)
    return status, None


__all__ = ("SECONDS", "ask")
