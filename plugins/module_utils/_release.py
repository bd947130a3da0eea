# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.
"""What we know about OpenClaw's versions, Node's versions and npm's failures: pure functions.

And, at the end, the one that is not: how npm is run so that it cannot outlive us.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

PACKAGE = "openclaw"
# Written last inside a release: a directory without it is not a release, whatever else is in it.
MARKER = ".clawops-release.json"
PARTIAL_SUFFIX = ".partial"

# One identifier of a suffix, ordered as Semantic Versioning orders them: numbers first, and by value.
Identifier = tuple[int, int, str]
_NUMBER = r"0|[1-9]\d*"
_IDENTIFIER = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SUFFIX = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*"
_VERSION = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_SUFFIX}))?", re.ASCII)
_PRINTED = re.compile(r"(?<![\w.-])v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)", re.ASCII)

_PRERELEASE, _RELEASE, _CORRECTION = range(3)


class Version(t.NamedTuple):
    """A version of OpenClaw that sorts as OpenClaw itself sorts its versions.

    ``2026.7.1-beta.2`` comes before ``2026.7.1``, but ``2026.7.1-2`` is a correction and comes after it,
    unlike in Semantic Versioning.
    """

    year: int
    month: int
    patch: int
    stage: int = _RELEASE
    suffix: tuple[Identifier, ...] = ()

    def __str__(self) -> str:
        base = f"{self.year}.{self.month}.{self.patch}"
        tail = ".".join(text if is_text else str(number) for is_text, number, text in self.suffix)
        return f"{base}-{tail}" if tail else base


def _identifiers(suffix: str | None) -> tuple[Identifier, ...]:
    if not suffix:
        return ()
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in suffix.split("."))


def parse_version(text: str) -> Version:
    """Read an exact version such as ``2026.9.6``, ``2026.7.1-2`` or ``2026.9.1-beta.1``."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise OpenClawError(
            f"version '{text}'",
            "it is not an exact version of OpenClaw",
            "Write all of it, as in '2026.9.6'; 'npm view openclaw versions' lists what there is.",
        )
    suffix = _identifiers(match[4])
    is_correction = len(suffix) == 1 and not suffix[0][0]
    stage = (_CORRECTION if is_correction else _PRERELEASE) if suffix else _RELEASE
    return Version(int(match[1]), int(match[2]), int(match[3]), stage, suffix)


def is_version(text: str) -> bool:
    """Whether the text is an exact version."""
    return _VERSION.fullmatch(text) is not None


def is_older(version: str, other: str) -> bool:
    """Whether OpenClaw regards the first version as older than the second."""
    return parse_version(version) < parse_version(other)


def newest_first(versions: t.Iterable[str]) -> list[str]:
    """The versions among the texts, newest first and each once; other texts are left out."""
    return sorted({text for text in versions if is_version(text)}, key=parse_version, reverse=True)


def nearest(versions: t.Iterable[str], wanted: str, n: int = 5) -> list[str]:
    """At most ``n`` of the versions, those closest to the wanted one in order of release, newest first."""
    ordered = newest_first(versions)
    if not is_version(wanted):
        return ordered[: max(n, 0)]
    target = parse_version(wanted)
    newer = [text for text in ordered if parse_version(text) > target]
    others = ordered[len(newer) :]
    of_newer = max(n // 2, n - len(others))
    closest_newer = newer[max(len(newer) - of_newer, 0) :] if of_newer > 0 else []
    return closest_newer + others[: max(n - len(closest_newer), 0)]


# ---- npm's ranges of Node versions -------------------------------------------------------------------

# A point on the line of versions: a pre-release lies below its release, and (0, ()) below all of them.
Point = tuple[int, int, int, tuple[int, tuple[Identifier, ...]]]
_IS_RELEASE: tuple[int, tuple[Identifier, ...]] = (1, ())
_LOWEST: tuple[int, tuple[Identifier, ...]] = (0, ())

_BUILD = re.compile(r"\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*", re.ASCII)
_X = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = rf"v?({_X})(?:\.({_X})(?:\.({_X})(?:-({_SUFFIX}))?)?)?"
_NODE_VERSION = re.compile(
    rf"\s*[v=]?\s*({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_SUFFIX}))?(?:{_BUILD.pattern})?\s*", re.ASCII
)
_TERM = re.compile(rf"(~>|[~^]|[<>]=?|=)?\s*{_PARTIAL}(?=\s|$)\s*", re.ASCII)
_HYPHEN = re.compile(rf"\s*{_PARTIAL}\s+-\s+{_PARTIAL}\s*", re.ASCII)


class Span(t.NamedTuple):
    """The versions from ``start`` up to, but without, ``end``; None has no bound."""

    start: Point | None
    end: Point | None

    def __contains__(self, point: object) -> bool:
        if not isinstance(point, tuple):
            return False
        return (self.start is None or point >= self.start) and (self.end is None or point < self.end)


_EVERYTHING = Span(None, None)
_NOTHING = Span(None, (0, 0, 0, _LOWEST))


def _after(point: Point) -> Point:
    """The next point that a comparison with 'greater than' admits."""
    major, minor, patch, (rank, suffix) = point
    # No identifier sorts below (-1, 0, ''), so nothing lies between a point and this one.
    return (major, minor, patch, (rank, (*suffix, (-1, 0, ""))))


def _read_partial(fields: t.Sequence[str | None]) -> tuple[list[int], tuple[Identifier, ...]]:
    """The numbers of a partial version up to its first 'x', and its suffix."""
    numbers: list[int] = []
    for field in fields[:3]:
        if field is None or field in "xX*":
            return numbers, ()
        numbers.append(int(field))
    return numbers, _identifiers(fields[3])


def _first(numbers: t.Sequence[int], suffix: tuple[Identifier, ...] = ()) -> Point:
    """Where a partial version begins: 24.1 begins below 24.1.0's first pre-release, 24.1.0 at itself."""
    if len(numbers) == 3:
        return (numbers[0], numbers[1], numbers[2], (0, suffix) if suffix else _IS_RELEASE)
    return _below([*numbers, 0, 0][:3])


def _below(numbers: t.Sequence[int]) -> Point:
    return (numbers[0], numbers[1], numbers[2], _LOWEST)


def _next(numbers: t.Sequence[int]) -> Point:
    """Where the versions end that begin with these numbers."""
    return _below([*numbers[:-1], numbers[-1] + 1, 0, 0][:3])


def _compatible(operator: str, numbers: t.Sequence[int]) -> Point:
    """Where the versions end that '~' or '^' admits."""
    if operator != "^":
        return _next(numbers[:2])
    leading_zeros = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
    return _next(numbers[: leading_zeros + 1])


def _span_of_term(operator: str, fields: t.Sequence[str | None]) -> Span | None:
    numbers, suffix = _read_partial(fields)
    # '1.x.3' is no range, but npm reads '^1.x.3' as '^1'.
    if operator not in ("^", "~", "~>") and any(field and field not in "xX*" for field in fields[len(numbers) : 3]):
        return None
    if not numbers:
        return _NOTHING if operator in ("<", ">") else _EVERYTHING
    start = _first(numbers, suffix)
    if operator in ("^", "~", "~>"):
        return Span(start, _compatible(operator, numbers))
    past = _after(start) if len(numbers) == 3 else _next(numbers)
    spans = {
        "<": Span(None, start),
        "<=": Span(None, past),
        ">": Span(past, None),
        ">=": Span(start, None),
    }
    return spans.get(operator, Span(start, past))


def _span_of_hyphen(fields: t.Sequence[str | None]) -> Span:
    low, high = _read_partial(fields[:4]), _read_partial(fields[4:])
    start = end = None
    if low[0]:
        start = _first(*low) if low[1] else _below([*low[0], 0, 0][:3])
    if high[0]:
        end = _after(_first(*high)) if high[1] else _next(high[0])
    return Span(start, end)


def _spans(alternative: str) -> list[Span] | None:
    """One alternative of a range as spans that must all hold; None when it is not one."""
    hyphen = _HYPHEN.fullmatch(alternative)
    if hyphen is not None:
        return [_span_of_hyphen(hyphen.groups())]
    spans: list[Span] = []
    rest = alternative.strip()
    while rest:
        match = _TERM.match(rest)
        span = _span_of_term(match[1] or "", match.groups()[1:]) if match else None
        if match is None or span is None:
            return None
        spans.append(span)
        rest = rest[match.end() :]
    return spans


def satisfies(node_version: str, engines: str | None) -> bool:
    """Whether a Node version lies in the range that a package's ``engines.node`` names.

    As npm does when it checks engines: a package without a range takes every version, pre-releases count,
    and what is not a version or not a range is never satisfied.
    """
    match = _NODE_VERSION.fullmatch(node_version)
    if match is None:
        return False
    point: Point = (
        int(match[1]),
        int(match[2]),
        int(match[3]),
        (0, _identifiers(match[4])) if match[4] else _IS_RELEASE,
    )
    alternatives = [_spans(alternative) for alternative in _BUILD.sub("", engines or "").split("||")]
    if None in alternatives:
        return False
    return any(all(point in span for span in spans) for spans in alternatives if spans is not None)


# ---- a release on the disk ---------------------------------------------------------------------------


def printed_version(output: str) -> str | None:
    """The version in what ``openclaw --version`` or ``node --version`` prints."""
    match = _PRINTED.search(output)
    return match[1] if match else None


def read_object(text: str | bytes | None) -> dict[str, t.Any]:
    """A JSON object, or an empty one where there is none: a torn file says as little as a missing one."""
    try:
        value = json.loads(text or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_finished(version: str, marker: t.Mapping[str, t.Any], package: t.Mapping[str, t.Any]) -> bool:
    """Whether marker and package.json both say that this very version stands here."""
    return marker.get("version") == version and package.get("version") == version


def is_whole(release: str) -> bool:
    """Whether the file that starts a release is there: a release that somebody took apart is installed again."""
    return os.path.isfile(os.path.join(release, "node_modules", PACKAGE, "dist/index.js"))


def node_engines(package: t.Mapping[str, t.Any]) -> str | None:
    """The range of Node versions that a package.json demands."""
    engines = package.get("engines")
    value = engines.get("node") if isinstance(engines, dict) else None
    return value if isinstance(value, str) else None


def to_prune(installed: t.Iterable[str], *, wanted: str, keep: int | None, linked: t.Iterable[str]) -> list[str]:
    """The releases that may go, newest first: beyond the ``keep`` newest, not wanted, not linked."""
    if keep is None:
        return []
    protected = {wanted, *linked}
    ordered = newest_first([*installed, wanted])
    return [version for version in ordered[keep:] if version not in protected]


def clean_environment(environ: t.Mapping[str, str], *, home: str, path: str, registry: str | None) -> dict[str, str]:
    """What npm gets to see: the way to the registry, and nothing else of the caller's environment."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
        or name.lower() in ("http_proxy", "https_proxy", "no_proxy")
        or name.lower().startswith("npm_config_")
    }
    given = {name.lower() for name in kept}
    # npm's own pause before a second try is 10 s, then 60 s: an unreachable registry would take over a minute.
    ours = {"npm_config_fetch_retry_mintimeout": "1000", "npm_config_fetch_retry_maxtimeout": "8000"}
    kept.update({name: value for name, value in ours.items() if name not in given})
    if registry is not None:
        kept = {name: value for name, value in kept.items() if name.lower() != "npm_config_registry"}
        kept["npm_config_registry"] = registry
    return {
        **kept,
        "HOME": home,
        "PATH": path,
        "LC_ALL": "C.UTF-8",
        "npm_config_cache": home,
        # Nothing of this belongs in a shared /tmp, and a release's tree must not carry a cache.
        "NODE_DISABLE_COMPILE_CACHE": "1",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
    }


# ---- npm's failures ----------------------------------------------------------------------------------

_NETWORK = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EHOSTUNREACH|ENETUNREACH)\b"
)
_CERTIFICATE = re.compile(
    r"\b(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER_CERT(?:_LOCALLY)?"
    r"|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_HAS_EXPIRED|ERR_TLS_CERT_ALTNAME_INVALID)\b"
)
_MISSING = re.compile(r"\b(ETARGET|E404|ENOVERSIONS)\b")
_DENIED = re.compile(r"\b(EACCES|EPERM|EROFS)\b")
_REFUSED = re.compile(r"\b(E401|E403|ENEEDAUTH)\b")
_FULL = re.compile(r"\b(ENOSPC|EDQUOT)\b")
_NEEDS_NODE = re.compile(r"requires Node (.+?)\.?\s*$.*?detected Node (\S+)", re.MULTILINE | re.DOTALL)
_NOISE = re.compile(r"A complete log of this run|^npm (?:error|ERR!)\s*$|-debug-\d+\.log")


def last_words(output: str, lines: int = 4) -> str:
    """The end of what npm said, without its prefixes and without the name of its log file."""
    useful = [re.sub(r"^npm (?:error|ERR!)\s*", "", line).strip() for line in output.splitlines() if line.strip()]
    return " · ".join([line for line in useful if line and not _NOISE.search(line)][-lines:])


def is_missing(output: str) -> bool:
    """Whether npm says that the registry does not have the package or the version."""
    return _MISSING.search(output) is not None and (f"{PACKAGE}@" in output or f"/{PACKAGE}" in output)


def missing_version(version: str, known: t.Iterable[str]) -> OpenClawError:
    """The version that nobody published, and those near it that somebody did."""
    near = nearest(known, version)
    return OpenClawError(
        f"OpenClaw {version}",
        "the npm registry does not have this version",
        f"Choose one that it has, such as {', '.join(near)}." if near else "Look at 'npm view openclaw versions'.",
    )


def explain_failure(version: str, output: str, *, status: int, path: str, cache: str) -> OpenClawError:
    """What npm's failure means to an operator.

    :param output: what npm printed.
    :param status: its exit status, negative for the signal that ended it.
    """
    subject = f"npm install {PACKAGE}@{version}"
    network, certificate = _NETWORK.search(output), _CERTIFICATE.search(output)
    if _FULL.search(output):
        return disk_full(version, path, cache)
    if certificate:
        return OpenClawError(
            subject,
            f"the registry's certificate is not trusted on this host ({certificate[1]})",
            "Name the file of your certificate authority in NODE_EXTRA_CA_CERTS (in the environment of the task).",
        )
    if network:
        return OpenClawError(
            subject,
            f"the npm registry cannot be reached from this host ({network[1]})",
            "Check DNS, proxy (https_proxy) and firewall, or name a mirror in the option registry.",
        )
    if _REFUSED.search(output):
        return OpenClawError(
            subject,
            f"the npm registry refuses this host: {last_words(output)}",
            f"Put the registry's credential into {cache}/.npmrc (root, mode 0600).",
        )
    node = _NEEDS_NODE.search(output)
    if node:
        return wrong_node(version, node[2], node[1])
    if _DENIED.search(output):
        return OpenClawError(
            subject,
            f"npm may not write: {last_words(output)}",
            f"Check that {path} and {cache} are writable for root.",
        )
    if status < 0:
        return OpenClawError(
            subject,
            f"npm was ended by signal {-status}",
            "If that is 9, the host ran out of memory: look at the kernel's log and give it 2 GB.",
        )
    return OpenClawError(
        subject,
        f"npm failed with status {status}: {last_words(output) or 'it said nothing'}",
        f"npm's own log is in {cache}/_logs.",
    )


def disk_full(version: str, path: str, cache: str) -> OpenClawError:
    """No space left while a release was being installed."""
    return OpenClawError(
        f"OpenClaw {version}",
        "the disk is full; the incomplete release is removed again",
        f"A release needs up to 900 MB in {path}, and npm's cache 250 MB in {cache}: free some, or prune with keep.",
    )


def explain_os_error(version: str, error: OSError) -> OpenClawError:
    """What the system refused while a release was being installed or removed."""
    return OpenClawError(
        str(error.filename or f"OpenClaw {version}"),
        error.strerror or str(error),
        "The module must run as root, and the file system must be writable.",
    )


def wrong_node(version: str, node_version: str, engines: str) -> OpenClawError:
    """The release and the Node that would run it do not fit."""
    return OpenClawError(
        f"OpenClaw {version}",
        f"it needs Node {engines}, and this host has {node_version}",
        "Install a Node of that range (role nodejs), or choose another release.",
    )


# ---- running npm -------------------------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
# More than the list of all versions, less than what would hurt.
_OUTPUT_LIMIT = 1 << 20


def _follow_parent(parent: int) -> t.Callable[[], None]:
    """What a child does before it becomes npm: die with its parent, however that one dies."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def run_bounded(
    command: t.Sequence[str],
    *,
    environment: t.Mapping[str, str],
    cwd: str,
    deadline: float,
    keep_open: int,
    progress: t.Callable[[], None] = lambda: None,
) -> tuple[int, str]:
    """Run a command that ends when this process does; gives its status and what it printed.

    :param deadline: the moment of ``time.monotonic()`` at which the command is ended with all its children.
    :param keep_open: a descriptor that the command inherits.
    :param progress: called twice a second.
    """
    output = bytearray()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(keep_open,),
        umask=0o022,
        preexec_fn=_follow_parent(os.getpid()),
    )
    with t.cast("t.IO[bytes]", process.stdout) as pipe:
        try:
            while True:
                ready = select.select([pipe], [], [], 0.5)[0]
                chunk = os.read(pipe.fileno(), 65536) if ready else b""
                output += chunk
                del output[:-_OUTPUT_LIMIT]
                if not chunk and (ready or process.poll() is not None):
                    break
                if time.monotonic() > deadline:
                    raise _too_slow(command, output.decode(errors="replace"))
                progress()
            process.wait(max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            raise _too_slow(command, output.decode(errors="replace")) from None
        finally:
            if process.poll() is None:
                # Its children too: npm starts the packages' own scripts.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return process.returncode, output.decode(errors="replace")


def _too_slow(command: t.Sequence[str], output: str) -> OpenClawError:
    return OpenClawError(
        f"'{Path(command[0]).name} {command[1]}'",
        f"it was not done in time: {last_words(output) or 'it said nothing'}",
        "Run it again (npm's cache keeps what was downloaded), with a longer timeout if the line is slow.",
    )


__all__ = (
    "MARKER",
    "PACKAGE",
    "PARTIAL_SUFFIX",
    "Version",
    "clean_environment",
    "disk_full",
    "explain_failure",
    "explain_os_error",
    "is_finished",
    "is_missing",
    "is_older",
    "is_version",
    "last_words",
    "missing_version",
    "nearest",
    "newest_first",
    "node_engines",
    "parse_version",
    "printed_version",
    "read_object",
    "run_bounded",
    "satisfies",
    "to_prune",
    "wrong_node",
)
