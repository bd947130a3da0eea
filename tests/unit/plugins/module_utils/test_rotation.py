# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations of secrets: what is rotated, how it is proven, and that nothing is lost when it is not."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _rotation, _settings, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Host

    Killed = Callable[..., bool]

TOKEN, KEY = "OPENCLAW_GATEWAY_TOKEN", "API_KEY"
OLD = {TOKEN: "old-token-0123456789", KEY: "old-key-0123456789"}
NEW = {TOKEN: "new-token-0123456789", KEY: "new-key-0123456789"}
SETTINGS = {
    "gateway": {"port": 1, "auth": {"token": _settings.secret_ref(TOKEN)}},
    "models": {"providers": {"acme": {"apiKey": _settings.secret_ref(KEY)}}},
}
FIGURES = {"probes": 20, "probes_missed": 0, "slowest_probe_ms": 3.0}


class StandInWatch:
    """Stands in for the watch over a gateway: sees what it is told to see."""

    problem = ""
    back = True

    def __init__(self, url: str, unit: str | None, *, old: str | None, new: str | None) -> None:
        self.figures: dict[str, Any] = {}
        self.old, self.new = old, new

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        yield
        self.figures |= FIGURES

    def prove(self) -> None:
        if self.problem:
            raise _rotation.NotProven(f"{self.problem} {self.old} {self.new}")

    def is_back(self) -> bool:
        return self.back


@pytest.fixture
def serving(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose gateway serves with the old secrets."""
    for name, value in (("problem", ""), ("back", True)):
        monkeypatch.setattr(StandInWatch, name, value)
    monkeypatch.setattr(_rotation, "Watch", StandInWatch)
    host.deploy(settings=SETTINGS, secrets=OLD)
    host.gateway.serves = True
    return host


def rotate(host: Host, *names: str, check_mode: bool = False, **asked: Any) -> dict[str, Any]:
    given = {"secrets": OLD, "generate": [TOKEN], **asked}
    return host.run(state="rotated", rotate=list(names), check_mode=check_mode, **given)


def test_a_given_value_is_written_and_nothing_but_the_stamp_changes_beside_it(serving: Host) -> None:
    before = serving.read()
    result = rotate(serving, KEY, secrets={**OLD, KEY: NEW[KEY]})
    assert (result["changed"], result["changed_secrets"], result["reload"]) == (True, [KEY], "hot")
    assert serving.read(serving.secrets) == {**OLD, KEY: NEW[KEY]}
    assert result["changed_keys"] == ["secrets.providers.clawops.timeoutMs"]
    before["secrets"]["providers"]["clawops"].pop("timeoutMs")
    after = serving.read()
    after["secrets"]["providers"]["clawops"].pop("timeoutMs")
    assert after == before
    assert result["used_by"] == {KEY: ["models.providers.acme.apiKey"]}
    assert result["proof"] == FIGURES


def test_only_what_was_asked_for_is_rotated(serving: Host) -> None:
    rotate(serving, KEY, secrets=NEW)
    assert serving.read(serving.secrets) == {**OLD, KEY: NEW[KEY]}


def test_a_token_that_is_not_given_is_made(serving: Host) -> None:
    rotate(serving, TOKEN, secrets={KEY: OLD[KEY]})
    made = serving.read(serving.secrets)
    assert made[TOKEN] != OLD[TOKEN]
    assert len(made[TOKEN]) == 64
    assert made[KEY] == OLD[KEY]


def test_nothing_is_left_of_the_old_value_and_a_run_of_the_role_has_nothing_to_do(serving: Host) -> None:
    rotate(serving, TOKEN, KEY, secrets=NEW)
    assert not [name for name, (_, content) in serving.tree().items() if b"old-token" in content]
    assert "pending" not in serving.read(serving.journal)
    assert serving.run(settings=SETTINGS, secrets=NEW, generate=[TOKEN])["changed"] is False


def test_all_is_every_secret_for_which_there_is_another_value_and_the_rest_is_told(serving: Host) -> None:
    result = rotate(serving, "all", secrets={TOKEN: OLD[TOKEN], KEY: NEW[KEY], "LATER": "l" * 20})
    assert result["changed_secrets"] == [KEY]
    assert result["kept_secrets"] == {
        TOKEN: "nothing to rotate: give a new value in gateway_token, or leave it empty and one is made",
        "LATER": "it is not on the host yet: site.yml brings it",
    }


def test_a_secret_that_the_inventory_no_longer_gives_is_kept_and_told(serving: Host) -> None:
    result = rotate(serving, "all", secrets={})
    assert result["changed_secrets"] == [TOKEN]
    assert result["kept_secrets"] == {KEY: "the inventory gives no new value"}


def test_where_there_is_nothing_to_rotate_nothing_is_touched(serving: Host) -> None:
    before = serving.tree()
    result = rotate(serving, KEY)
    assert (result["changed"], result["reload"]) == (False, "none")
    assert result["kept_secrets"] == {KEY: "nothing to rotate: give a new value in gateway_secrets"}
    assert serving.tree() == before


@pytest.mark.parametrize(
    ("names", "secrets", "words"),
    [
        pytest.param(["NO_SUCH"], OLD, f"rotate NO_SUCH: .* There are: {KEY}, {TOKEN}", id="unknown"),
        pytest.param([TOKEN], {TOKEN: "short"}, "fewer than 16 letters", id="short"),
        pytest.param([KEY], {KEY: 12345}, f"gateway_secrets.{KEY}: a secret is a text", id="no-text"),
        pytest.param([TOKEN, "NO_SUCH"], {TOKEN: "short"}, r"(?s)NO_SUCH.*fewer than 16", id="all-at-once"),
    ],
)
def test_what_cannot_be_rotated_is_refused_untouched(
    serving: Host, names: list[str], secrets: dict[str, Any], words: str
) -> None:
    before = serving.tree()
    with pytest.raises(OpenClawError, match=words):
        rotate(serving, *names, secrets=secrets)
    assert serving.tree() == before


def test_a_gateway_that_does_not_serve_is_not_rotated(serving: Host) -> None:
    serving.gateway.serves = False
    before = serving.tree()
    for check_mode in (True, False):
        with pytest.raises(OpenClawError, match=r"does not serve.*nothing was changed"):
            rotate(serving, TOKEN, secrets=NEW, check_mode=check_mode)
    assert serving.tree() == before


def test_check_mode_tells_what_would_be_rotated_and_shows_no_value(serving: Host) -> None:
    before = serving.tree()
    result = rotate(serving, "all", secrets=NEW, check_mode=True)
    assert (result["changed"], result["changed_secrets"]) == (True, [KEY, TOKEN])
    assert result["diff"]["after"]["secrets"] == {KEY: "(new value)", TOKEN: "(new value)"}
    shown = json.dumps(result)
    assert not [value for value in (*OLD.values(), *NEW.values()) if value in shown]
    assert serving.tree() == before


def test_what_is_not_proven_is_taken_back_and_no_value_is_told(serving: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandInWatch, "problem", "the gateway does not refuse the old token")
    with pytest.raises(
        OpenClawError, match=r"does not refuse the old token.*is back, and the gateway serves"
    ) as failed:
        rotate(serving, TOKEN, secrets=NEW)
    assert not [value for value in (*OLD.values(), *NEW.values()) if value in str(failed.value)]
    assert serving.read(serving.secrets) == OLD
    assert [event for event, _, _ in serving.gateway.seen] == ["take", "take"]
    # What it took the second time.
    assert serving.gateway.seen[-1][2] == OLD
    assert serving.run(settings=SETTINGS, secrets=OLD, generate=[TOKEN])["changed"] is False


def test_a_gateway_that_does_not_take_the_old_value_back_is_restarted_with_it(
    serving: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandInWatch, "problem", "no")
    monkeypatch.setattr(StandInWatch, "back", False)
    with pytest.raises(OpenClawError, match="but the gateway does not serve"):
        rotate(serving, TOKEN, secrets=NEW)
    assert [event for event, _, _ in serving.gateway.seen] == ["take", "take", "stop", "start"]
    assert serving.read(serving.secrets) == OLD


def test_what_the_gateway_refuses_is_taken_back(serving: Host) -> None:
    serving.gateway.refuses = "config reload skipped"
    with pytest.raises(OpenClawError, match="not rotated: config reload skipped"):
        rotate(serving, TOKEN, secrets=NEW)
    assert serving.read(serving.secrets) == OLD
    # It serves with the old one, though it refuses that file too.
    assert [event for event, _, _ in serving.gateway.seen] == ["take", "take", "stop", "start"]


def test_a_disk_that_is_full_half_way_leaves_the_old_values(serving: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    write, before = _store.write, serving.read()

    def full(path: str, *arguments: Any, **options: Any) -> None:
        if path == str(serving.settings) and serving.read(serving.secrets) != OLD:
            raise OSError(28, "No space left on device", path)
        write(path, *arguments, **options)

    monkeypatch.setattr(_store, "write", full)
    with pytest.raises(OSError, match="No space left"):
        rotate(serving, TOKEN, secrets=NEW)
    assert (serving.read(serving.secrets), serving.read()) == (OLD, before)
    assert rotate(serving, TOKEN, check_mode=True, secrets=NEW)["changed_secrets"] == [TOKEN]


def test_a_variable_of_a_process_needs_a_restart_and_that_is_said(serving: Host) -> None:
    servers = {"tool": {"env": {"ACME": _settings.secret_ref(KEY)}}}
    settings = {**SETTINGS, "plugins": {"entries": {"acpx": {"config": {"mcpServers": servers}}}}}
    serving.gateway.serves = False
    serving.deploy(settings=settings, secrets=OLD)
    serving.gateway.serves = True
    changed = {**OLD, KEY: NEW[KEY]}
    assert rotate(serving, KEY, secrets=changed, check_mode=True)["reload"] == "restart"
    assert rotate(serving, KEY, secrets=changed)["reload"] == "restart"
    assert rotate(serving, TOKEN, secrets={**changed, TOKEN: NEW[TOKEN]})["reload"] == "hot"


def test_paired_devices_are_ended_where_that_is_asked_for(serving: Host) -> None:
    result = rotate(serving, TOKEN, secrets=NEW, end_devices=True)
    assert result["proof"] == {**FIGURES, "devices_removed": 2, "device_requests_rejected": 1}
    # They have nothing to do with the key of a provider.
    assert rotate(serving, KEY, secrets={**NEW, KEY: "k" * 20}, end_devices=True)["proof"] == FIGURES


def test_a_key_of_somebody_elses_in_the_settings_stays(serving: Host) -> None:
    live = serving.read()
    live["gateway"]["theirs"] = 1
    live["models"]["providers"]["acme"]["apiKey"] = "of-a-person-by-hand"
    serving.write(live)
    rotate(serving, TOKEN, secrets=NEW)
    kept = serving.read()
    assert (kept["gateway"]["theirs"], kept["models"]) == (1, live["models"])


@pytest.mark.parametrize("after", [False, True], ids=["before-a-rename", "after-a-rename"])
@pytest.mark.parametrize("next_run", ["rotation", "role"])
def test_a_rotation_that_is_killed_is_finished_by_the_next_run(
    serving: Host, killed: Killed, next_run: str, after: bool
) -> None:
    for n in range(1, 20):
        given = {TOKEN: f"token-number-{n}-{'x' * 20}", KEY: f"key-number-{n}"}
        before = serving.read(serving.secrets)
        came_that_far = killed(lambda given=given: rotate(serving, TOKEN, KEY, secrets=given), n, after=after)
        found = serving.read(serving.secrets)
        assert found in (before, given), n
        if next_run == "rotation":
            rotate(serving, TOKEN, KEY, secrets=given)
        else:
            serving.run(settings=SETTINGS, secrets=given, generate=[TOKEN])
        assert serving.read(serving.secrets) == given, n
        assert "pending" not in serving.read(serving.journal), n
        assert not list(serving.root.rglob("secrets.json.previous")), n
        if not came_that_far:
            assert n > 3, "nothing was ever written"
            return
    pytest.fail("it never came to an end")


def test_the_stamp_of_a_repeated_rotation_is_another_than_the_gateway_may_have_read(
    serving: Host, killed: Killed
) -> None:
    """The same stamp would be no change to a gateway, and it would not read its secrets again."""
    for n in range(1, 8):
        given = {**OLD, TOKEN: f"token-number-{n}-{'x' * 20}"}
        killed(lambda given=given: rotate(serving, TOKEN, secrets=given), n, after=True)
        written = serving.read()
        rotate(serving, TOKEN, secrets={**OLD, TOKEN: f"token-second-{n}-{'x' * 20}"})
        assert serving.read() != written, n


def test_a_change_of_settings_that_was_broken_off_comes_first(serving: Host) -> None:
    serving.gateway.serves = False
    serving.run(settings={**SETTINGS, "logging": {"level": "info"}}, secrets=OLD)
    serving.gateway.serves = True
    before = serving.tree()
    with pytest.raises(OpenClawError, match=r"broken off before it was proven.*site\.yml"):
        rotate(serving, TOKEN, secrets=NEW)
    assert serving.tree() == before


# ---- the watch -------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """A gateway whose token changes by itself after some time."""

    daemon_threads = True
    tokens: tuple[str, ...] = (OLD[TOKEN],)
    healthy = True

    def change_after(self, seconds: float, *tokens: str) -> None:
        def change() -> None:
            self.tokens = tokens

        threading.Timer(seconds, change).start()


class Answers(http.server.BaseHTTPRequestHandler):
    server: Server

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        self.answer(200 if self.server.healthy else 503, {"ok": self.server.healthy})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"].removeprefix("Bearer ") in self.server.tokens:
            self.answer(200, {"ok": True})
        else:
            self.answer(401, {"ok": False, "error": {"type": "unauthorized"}})

    def log_message(self, *_: Any) -> None:
        """Nothing is to be said."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def watch(server: Server, old: str | None = OLD[TOKEN]) -> _rotation.Watch:
    return _rotation.Watch(f"http://127.0.0.1:{server.server_address[1]}", None, old=old, new=NEW[TOKEN])


def test_the_watch_sees_when_the_old_token_is_refused_and_that_no_probe_was_missed(server: Server) -> None:
    subject = watch(server)
    with subject.watching():
        server.change_after(0.5, NEW[TOKEN])
        subject.prove()
        time.sleep(0.3)
    assert 400 < subject.figures["old_token_refused_after_ms"] < 1500
    assert (subject.figures["token_accepted"], subject.figures["old_token_refused"]) == (True, True)
    assert (subject.figures["probes_missed"], subject.figures["probes"] > 5) == (0, True)


def test_the_watch_counts_the_probes_that_are_missed(server: Server) -> None:
    server.healthy = False
    server.tokens = (NEW[TOKEN],)
    subject = watch(server, old=None)
    with subject.watching():
        subject.prove()
        time.sleep(0.3)
    assert subject.figures["probes_missed"] == subject.figures["probes"] > 2
    assert "old_token_refused" not in subject.figures


def test_a_new_token_that_is_not_accepted_is_no_proof(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rotation, "_IN_FORCE_WITHIN", 0.2)
    subject = watch(server)
    with pytest.raises(_rotation.NotProven, match=r"does not accept the token that it should \(it answers 401\)"):
        subject.prove()
    assert subject.is_back()


def test_an_old_token_that_is_still_accepted_is_no_proof(server: Server) -> None:
    server.tokens = (OLD[TOKEN], NEW[TOKEN])
    with pytest.raises(_rotation.NotProven, match="does not refuse the old token"):
        watch(server).prove()


def test_an_error_in_the_block_ends_the_watch_too(server: Server) -> None:
    subject = watch(server)
    with pytest.raises(RuntimeError, match="broken"), subject.watching():
        raise RuntimeError("broken")
    assert subject.figures["probes"] >= 0
