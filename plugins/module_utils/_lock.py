# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""One installation at a time, and none that ends without cleaning up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError


class HeldLock(OpenClawError):
    """Another process has the lock, and keeps it."""


@contextlib.contextmanager
def interruptible() -> t.Iterator[None]:
    """Turn the signals that end a process into an error, so that what was begun is cleaned up."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def interrupt(number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise OpenClawError(
            "the installation of OpenClaw",
            f"it was interrupted by {signal.Signals(number).name}, and the incomplete release was removed",
            "Run it again; what npm has downloaded is still in its cache.",
        )

    previous = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def exclusive(store: Path, deadline: float) -> t.Iterator[int]:
    """Hold the lock of the releases; gives its descriptor.

    Processes that inherit the descriptor hold the lock too: an npm that outlived its module keeps others out.
    """
    lock = store / ".lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise held(lock, os.pread(descriptor, 64, 0)) from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def held(lock: Path, content: bytes) -> HeldLock:
    """The lock is somebody else's, and stays so."""
    holder = content.decode(errors="replace").strip()
    holder = holder if holder.isdecimal() else "unknown"
    alive = "" if Path("/proc", holder).exists() else ", which has ended; a child of it still runs"
    return HeldLock(
        str(lock),
        f"another installation holds it: process {holder}{alive}",
        f"Wait until it is done and run again, or find it with 'fuser {lock}' and end it.",
    )


__all__ = ("HeldLock", "exclusive", "interruptible")
