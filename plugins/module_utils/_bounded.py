# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""Runs a program in which the gateway's account has a say, bounded in time and in what it may print."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
import typing as t

_PIECE = 1 << 16


def run(
    argv: list[str], text: str, *, seconds: float, limit: int, **options: t.Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    It has a session of its own: it cannot reach the caller's terminal, and whatever it has started ends with it, unless
    that has left the session.

    :param argv: program and arguments.
    :param text: what it reads.
    :param seconds: for all of it; what it has started may hold its output open no longer either.
    :param limit: bytes of output and of errors, each; what is more is dropped, and the program goes on.
    :param options: as for ``subprocess.Popen``.
    :raises subprocess.TimeoutExpired: it has not ended in time, and was killed.
    """
    # A file, since a program that prints before it reads would wait for us, and we for it.
    with tempfile.TemporaryFile() as given:
        given.write(text.encode())
        given.seek(0)
        process = subprocess.Popen(
            argv,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
            **options,
        )
    try:
        said = _read(process, time.monotonic() + seconds, limit)
        if said is None:
            raise subprocess.TimeoutExpired(argv, seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
    out, err = (part.decode(errors="replace") for part in said)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def _read(process: subprocess.Popen[bytes], deadline: float, limit: int) -> list[bytes] | None:
    """What a process prints until it ends, ``None`` where it does not in time."""
    parts = [bytearray(), bytearray()]
    with selectors.DefaultSelector() as waiting:
        for stream, part in zip((process.stdout, process.stderr), parts, strict=True):
            if stream:
                waiting.register(stream, selectors.EVENT_READ, part)
        while waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            for key, _ in waiting.select(left):
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    waiting.unregister(key.fileobj)
                key.data.extend(piece[: limit - len(key.data)])
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
        return [bytes(part) for part in parts]
    return None


__all__ = ("run",)
