# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each way in which a settings file can be broken: what it is repaired from, what that saves, and what is told of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.clawops.openclaw.plugins.module_utils import _apply, _merge, _settings_found, _settings_repair
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError
from ansible_collections.clawops.openclaw.plugins.module_utils._settings_found import Paths, Unread
from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Host, Killed, StandInRelease

WANTED = {"gateway": {"mode": "local", "port": 18789}}
# The host's own keys.
THEIRS = {"session": {"dmScope": "main"}, "logging": {"redactPatterns": ["mine"]}}
SAVED = ["logging.redactPatterns", "session.dmScope"]
TYPES = {"gateway.port": int, "session": dict, "session.dmScope": str, "logging": dict, "logging.redactPatterns": list}


def issues_of(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands for the release's schema finds: wrong types of some keys, and any key called "nonsense"."""
    found = []
    for path, kind in TYPES.items():
        value = _merge.lookup(settings, tuple(path.split(".")))
        if value is not _merge.MISSING and type(value) is not kind:
            found.append({"path": path, "message": "Invalid input"})
    for keys, _value in _merge.leaves(settings):
        if "nonsense" in keys:
            above = keys[: keys.index("nonsense")]
            found.append({"path": ".".join(above), "message": 'Unrecognized key: "nonsense"'})
    return found


@pytest.fixture
def repairable(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose file was changed by its people and then applied once more, with a release that finds what is wrong."""

    def validate(release: StandInRelease, candidate: str) -> tuple[list[dict[str, Any]], list[str]]:
        content = Path(candidate).read_bytes()
        release.seen.append(content)
        return issues_of(json.loads(content)), []

    monkeypatch.setattr(host.release, "validate", validate)
    host.deploy(settings=WANTED)
    host.write({**host.read(), **THEIRS})
    host.deploy(settings=WANTED)
    return host


def site(host: Host, **asked: Any) -> dict[str, Any]:
    """What the role does: once in check mode, which changes nothing and tells the same; once in earnest; noted."""
    before = host.tree()
    foreseen = host.run(recover="repair", check_mode=True, **{"settings": WANTED, **asked})
    assert host.tree() == before
    answer = host.run(recover="repair", **{"settings": WANTED, **asked})
    assert (foreseen["repaired"], foreseen["notes"]) == (answer["repaired"], answer["notes"])
    host.run(state="confirmed")
    return answer


def edited(host: Host, **keys: Any) -> None:
    host.write({**host.read(), **keys})


def torn(host: Host) -> None:
    host.settings.write_bytes(host.settings.read_bytes()[: host.settings.stat().st_size // 2])


def link(host: Host) -> None:
    host.settings.rename(host.root / "elsewhere.json")
    host.settings.symlink_to(host.root / "elsewhere.json")


def directory(host: Host) -> None:
    host.settings.unlink()
    host.settings.mkdir()


def pipe(host: Host) -> None:
    host.settings.unlink()
    os.mkfifo(host.settings)


def large(host: Host) -> None:
    host.settings.write_bytes(b" " * (5 << 20))


Damage = Callable[[Host], object]
UNREADABLE = [
    pytest.param(torn, "Unterminated string", id="torn"),
    pytest.param(lambda host: host.settings.write_bytes(b""), "it is not JSON", id="emptied"),
    pytest.param(lambda host: host.settings.write_bytes(b"hello"), "", id="words"),
    pytest.param(lambda host: host.settings.write_bytes(b"\xff\xfe{"), "", id="no-text"),
    pytest.param(lambda host: host.settings.write_bytes(b"[]"), "it holds no object", id="a-list"),
    pytest.param(lambda host: host.settings.write_bytes(b'{"a":' * 1000), "", id="too-deep"),
    pytest.param(large, "it has more than 4096 KiB", id="too-large"),
    pytest.param(directory, "it is not a plain file", id="a-directory"),
    pytest.param(link, "it is a symbolic link", id="a-link"),
    pytest.param(pipe, "it is not a plain file", id="a-pipe"),
]


@pytest.mark.parametrize(("damage", "reason"), UNREADABLE)
def test_a_file_that_cannot_be_read_comes_back_from_what_was_applied_last(
    repairable: Host, damage: Damage, reason: str
) -> None:
    # A gateway that runs with this very file has nothing to take.
    was = repairable.settings.read_bytes()
    damage(repairable)
    answer = site(repairable)
    assert repairable.settings.read_bytes() == was
    assert not repairable.settings.is_symlink()
    assert len(list(repairable.root.glob("lib/openclaw.json.unreadable-*"))) == 1
    assert answer["repaired"]["copy"] == "what was applied last"
    assert (sorted(answer["repaired"]["saved"]), answer["repaired"]["former"]) == (SAVED, [])
    assert answer["repaired"]["lost"] == []
    [note] = answer["notes"]
    assert f"{repairable.settings} is broken: " in note
    assert reason in note
    assert "kept beside it as openclaw.json.unreadable-<time>" in note
    again = site(repairable)
    assert (again["changed"], again["repaired"], again["notes"]) == (False, {}, [])


def test_what_is_broken_is_kept_as_it_is(repairable: Host) -> None:
    torn(repairable)
    content = repairable.settings.read_bytes()
    site(repairable)
    [kept] = repairable.root.glob("lib/openclaw.json.unreadable-*")
    assert kept.read_bytes() == content
    # Nothing goes back to it.
    assert not repairable.previous.exists()


def test_a_file_that_is_gone_comes_back(repairable: Host) -> None:
    was = repairable.read()
    repairable.settings.unlink()
    answer = site(repairable)
    assert repairable.read() == was
    [note] = answer["notes"]
    assert "is broken: it is missing. It is repaired from what was applied last. Keys" in note


def test_keys_that_the_release_refuses_go_and_those_that_are_sound_stay(repairable: Host) -> None:
    edited(repairable, nonsense={"a": 1}, later={"added": "since"}, session={"dmScope": 7, "nonsense": 1})
    content = repairable.settings.read_bytes()
    answer = site(repairable)
    settings = repairable.read()
    assert "nonsense" not in settings
    assert settings["later"] == {"added": "since"}
    assert settings["session"] == {"dmScope": "main"}
    assert answer["repaired"] == {
        "copy": "what was applied last",
        "saved": ["logging.redactPatterns", "later.added"],
        "former": ["session.dmScope"],
        "lost": ["session.nonsense", "nonsense.a"],
    }
    [kept] = repairable.root.glob("lib/openclaw.json.unreadable-*")
    assert kept.read_bytes() == content
    assert site(repairable)["changed"] is False


def test_what_the_release_tells_only_later_is_repaired_too(repairable: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def validate(release: StandInRelease, candidate: str) -> tuple[list[dict[str, Any]], list[str]]:
        return issues_of(json.loads(Path(candidate).read_bytes()))[-1:], []

    monkeypatch.setattr(repairable.release, "validate", validate)
    edited(repairable, nonsense=1, session={"dmScope": 7})
    answer = site(repairable)
    assert repairable.read()["session"] == {"dmScope": "main"}
    assert (answer["repaired"]["former"], answer["repaired"]["lost"]) == (["session.dmScope"], ["nonsense"])


def test_a_copy_that_is_refused_as_a_whole_is_the_operators_to_decide_about(
    repairable: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(release: StandInRelease, candidate: str) -> tuple[list[dict[str, Any]], list[str]]:
        whole = "session" in json.loads(Path(candidate).read_bytes())
        return [{"path": "", "message": "does not fit together"}] if whole else [], []

    torn(repairable)
    monkeypatch.setattr(repairable.release, "validate", validate)
    before = repairable.tree()
    with pytest.raises(OpenClawError, match="does not fit together"):
        repairable.run(settings=WANTED, recover="repair")
    assert repairable.tree() == before


def test_a_file_that_the_account_exchanges_meanwhile_is_kept_aside_too(
    repairable: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(paths: Paths, *given: Any, recover: str) -> Any:
        if recover == "discard":
            edited(repairable, exchanged=1)
        else:
            raise Unread(paths.settings, "it is torn", [])
        return _settings_found.look(paths, *given, recover=recover)

    monkeypatch.setattr(_settings_repair, "look", look)
    repairable.run(settings=WANTED, recover="repair")
    [kept] = repairable.root.glob("lib/openclaw.json.unreadable-*")
    assert "exchanged" in repairable.read(kept)
    assert "exchanged" not in repairable.read()


def test_the_preflight_foresees_a_repair(repairable: Host) -> None:
    torn(repairable)
    before = repairable.tree()
    parameters = repairable.parameters(settings=WANTED, recover="repair")
    answer = _apply.preview(parameters, reader=parameters["release"])
    assert answer["due"] is True
    assert "is broken" in answer["notes"][0]
    assert repairable.tree() == before


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"gateway": {"port": "abc"}}, id="the-inventorys-key"),
        pytest.param({"logging": "loud"}, id="in-place-of-the-hosts-keys"),
        pytest.param({"gateway": "nonsense", "logging": [], "session": None}, id="all-over"),
    ],
)
def test_values_of_the_wrong_type_are_the_former_ones_again(repairable: Host, keys: dict[str, Any]) -> None:
    was = repairable.read()
    edited(repairable, **keys)
    answer = site(repairable)
    assert repairable.read() == was
    assert answer["drift"] == []
    assert sorted(answer["repaired"]["saved"] + answer["repaired"]["former"]) == SAVED
    assert len(list(repairable.root.glob("lib/openclaw.json.unreadable-*"))) == 1


def test_broken_values_are_not_adopted_where_drift_is_kept(repairable: Host) -> None:
    edited(repairable, gateway={"mode": "local", "port": "abc"})
    site(repairable, drift="keep")
    assert repairable.read()["gateway"]["port"] == 18789


def test_a_sound_change_of_the_hosts_is_no_damage(repairable: Host) -> None:
    edited(repairable, session={"dmScope": "per-peer"})
    repairable.release.seen.clear()
    repairable.run(settings=WANTED, recover="repair", check_mode=True)
    assert len(repairable.release.seen) == 1
    answer = site(repairable)
    assert (answer["changed"], answer["repaired"]) == (False, {})
    assert repairable.read()["session"] == {"dmScope": "per-peer"}
    # Nothing is asked of the release about a file that it has judged.
    repairable.release.seen.clear()
    assert site(repairable)["validated"] is False
    assert repairable.release.seen == []
    # And from then on it is what a repair brings back.
    torn(repairable)
    site(repairable)
    assert repairable.read()["session"] == {"dmScope": "per-peer"}


def test_the_copy_that_openclaw_keeps_is_taken_where_it_is_newer(repairable: Host) -> None:
    good = {**repairable.read(), "added": {"by": "config set"}}
    repairable.last_good.write_text(json.dumps(good))
    later = repairable.journal.stat().st_mtime + 10
    os.utime(repairable.last_good, (later, later))
    torn(repairable)
    answer = site(repairable)
    assert repairable.read() == good
    assert answer["repaired"]["copy"] == str(repairable.last_good)
    assert "added.by" in answer["repaired"]["saved"]


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"", None], ids=["torn", "a-list", "empty", "older-than-what-was-applied"]
)
def test_a_copy_of_openclaws_that_is_no_better_is_passed_over(repairable: Host, content: bytes | None) -> None:
    was = repairable.read()
    repairable.last_good.write_bytes(b'{"old": 1}' if content is None else content)
    later = repairable.journal.stat().st_mtime + (10 if content is not None else -10)
    os.utime(repairable.last_good, (later, later))
    torn(repairable)
    assert site(repairable)["repaired"]["copy"] == "what was applied last"
    assert repairable.read() == was


def test_a_link_in_place_of_openclaws_copy_is_not_followed(repairable: Host, tmp_path: Path) -> None:
    (tmp_path / "of-somebody-else").write_text('{"secret": "of somebody else"}')
    repairable.last_good.symlink_to(tmp_path / "of-somebody-else")
    os.utime(repairable.last_good, (4e9, 4e9), follow_symlinks=False)
    torn(repairable)
    site(repairable)
    assert "secret" not in repairable.read()


def test_nonsense_in_the_copy_goes_too(repairable: Host) -> None:
    repairable.last_good.write_text(json.dumps({**repairable.read(), "nonsense": {"b": 2}}))
    os.utime(repairable.last_good, (4e9, 4e9))
    torn(repairable)
    answer = site(repairable)
    assert "nonsense" not in repairable.read()
    assert answer["repaired"]["lost"] == ["nonsense.b"]


def test_a_note_without_the_hosts_keys_is_helped_by_the_version_before_the_last_change(repairable: Host) -> None:
    """Until this collection had changed the settings once, its note had the inventory's keys only."""
    note = repairable.read(repairable.journal)
    del note["file"]
    repairable.journal.write_text(json.dumps(note))
    repairable.previous.write_text(json.dumps({**repairable.read(), "before": 1}))
    torn(repairable)
    assert site(repairable)["repaired"]["copy"] == str(repairable.previous)
    assert repairable.read()["before"] == 1


def test_with_no_copy_at_all_the_inventorys_keys_come_back_and_the_lost_ones_are_told(repairable: Host) -> None:
    note = repairable.read(repairable.journal)
    del note["file"]
    repairable.journal.write_text(json.dumps(note))
    repairable.previous.unlink(missing_ok=True)
    whole = repairable.read()
    repairable.settings.write_text(json.dumps({"session": whole["session"], "x": whole})[:-1])
    answer = site(repairable)
    assert repairable.read()["gateway"] == WANTED["gateway"]
    assert answer["repaired"]["copy"] == "what was applied last, without the host's own keys"
    assert answer["repaired"]["saved"] == []
    assert "session.dmScope" in answer["repaired"]["lost"]


def test_a_change_of_the_inventory_comes_along(repairable: Host) -> None:
    torn(repairable)
    site(repairable, settings={"gateway": {"mode": "local", "port": 18790}})
    assert repairable.read()["gateway"]["port"] == 18790
    # What it no longer speaks about is no key of the host's.
    torn(repairable)
    answer = site(repairable, settings={"gateway": {"port": 18790}})
    assert "mode" not in repairable.read()["gateway"]
    assert "gateway.mode" not in answer["repaired"]["saved"] + answer["repaired"]["lost"]


def test_a_persons_json5_comes_back_with_its_comments(repairable: Host) -> None:
    repairable.write(json.dumps({**repairable.read(), "more": 1}) + " // by hand")
    assert site(repairable)["changed"] is False
    by_hand = repairable.settings.read_bytes()
    repairable.settings.write_bytes(b"{")
    assert "more" in site(repairable)["repaired"]["saved"]
    assert repairable.settings.read_bytes() == by_hand
    again = site(repairable)
    assert (again["changed"], again["validated"]) == (False, False)


@pytest.mark.parametrize("damage", [torn, directory], ids=["torn", "a-directory"])
def test_a_file_that_no_run_has_applied_is_left(host: Host, damage: Damage) -> None:
    host.write({"theirs": 1, "more": 2})
    damage(host)
    with pytest.raises(Unread, match="It was left as it is"):
        host.run(recover="repair")


def test_what_a_new_release_refuses_is_the_operators_to_decide(repairable: Host) -> None:
    edited(repairable, nonsense=1)
    release = str(repairable.root / "releases" / "2026.9.7")
    with pytest.raises(OpenClawError, match="nonsense: Unrecognized key"):
        repairable.run(settings=WANTED, recover="repair", release=release)
    assert repairable.read()["nonsense"] == 1


def test_without_a_release_nobody_can_tell_json5_from_nonsense(
    repairable: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairable.settings.write_text("{a: 1}")
    monkeypatch.setattr(repairable.release, "installed", False)
    with pytest.raises(Unread):
        repairable.run(settings=WANTED, recover="repair", check_mode=True)
    parameters = repairable.parameters(settings=WANTED, recover="repair")
    assert _apply.preview(parameters, reader=parameters["release"]) == {"due": True, "notes": []}


def test_the_inventorys_own_mistake_is_told_as_such(repairable: Host) -> None:
    torn(repairable)
    before = repairable.tree()
    with pytest.raises(OpenClawError, match=r"gateway_settings\.gateway\.port: Invalid input"):
        repairable.run(settings={"gateway": {"port": "abc"}}, recover="repair")
    assert repairable.tree() == before


def test_a_running_gateway_takes_what_is_repaired(repairable: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairable.gateway, "serves", True)
    torn(repairable)
    answer = repairable.run(settings=WANTED, recover="repair")
    assert (answer["pending"], [event for event, *_ in repairable.gateway.seen]) == (False, ["take"])
    assert repairable.run(settings=WANTED, recover="repair")["changed"] is False


def test_a_gateway_that_does_not_take_it_runs_on(repairable: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairable.gateway, "serves", True)
    monkeypatch.setattr(repairable.gateway, "refuses", "a secret is missing")
    was = repairable.read()
    torn(repairable)
    with pytest.raises(OpenClawError, match="goes on with what it has, and did not take this: a secret is missing"):
        repairable.run(settings=WANTED, recover="repair")
    assert [event for event, *_ in repairable.gateway.seen] == ["take"]
    assert repairable.read() == was


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_repair_that_is_killed_is_gone_on_with(repairable: Host, killed: Killed, after: bool) -> None:
    was = repairable.read()
    for step in range(1, 30):
        torn(repairable)
        came_that_far = killed(
            lambda: repairable.run(settings=WANTED, recover="repair"), step, after=after, steps=("rename", "link")
        )
        site(repairable)
        assert repairable.read() == was
        if not came_that_far:
            break
    else:
        raise AssertionError("it has more steps")
    assert step > 2


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        pytest.param('{"a": {"b": 1, "c": [1, {"d": "x', {"a": {"b": 1, "c": [1, {}]}}, id="in-a-text"),
        pytest.param('{"a": 1, "b": 12', {"a": 1}, id="in-a-number"),
        pytest.param('{"a": "}\\"{,", "b": tru', {"a": '}"{,'}, id="after-marks-in-a-text"),
        pytest.param('{"a": 1}', {"a": 1}, id="whole"),
        pytest.param("hello", {}, id="words"),
        pytest.param("[1, 2", {}, id="a-list"),
        pytest.param("", {}, id="empty"),
        pytest.param("{}}}}", {}, id="too-many-ends"),
        pytest.param('{"a": 1, "b": [2, }', {"a": 1, "b": [2]}, id="a-wrong-end"),
    ],
)
def test_what_is_whole_of_a_torn_file_is_found(host: Host, text: str, whole: dict[str, Any]) -> None:
    host.settings.write_text(text)
    paths = Paths(str(host.settings), str(host.secrets), str(host.journal))
    assert _settings_repair.whole_part(paths, None) == whole


@pytest.mark.parametrize(
    "text", ["[" * 4_000_000, '\\"' * 2_000_000, '{"a":' * 800_000], ids=["ends", "texts", "levels"]
)
def test_a_file_made_to_be_slow_is_not(host: Host, within: Any, text: str) -> None:
    host.settings.write_text(text)
    paths = Paths(str(host.settings), str(host.secrets), str(host.journal))
    assert within(20, lambda: _settings_repair.whole_part(paths, None), 1500) == {}


@pytest.mark.parametrize(
    ("issue", "place"),
    [
        pytest.param({"path": "a.b", "message": "x"}, ("a", "b"), id="plain"),
        pytest.param({"path": "a.list.0.x", "message": "x"}, ("a", "list"), id="in-a-list"),
        pytest.param({"path": "a.gone", "message": "Required"}, ("a",), id="what-is-not-there"),
        pytest.param({"path": "a.with.dots.c", "message": "x"}, ("a", "with.dots", "c"), id="a-name-with-dots"),
        pytest.param({"path": "a.7", "message": "x"}, ("a", "7"), id="a-name-of-digits"),
        pytest.param({"path": "", "message": "x"}, (), id="all-of-it"),
        pytest.param({"path": "a", "message": 'Unrecognized key: "b"'}, ("a", "b"), id="unknown"),
    ],
)
def test_where_the_release_has_found_something(issue: dict[str, Any], place: tuple[str, ...]) -> None:
    settings = {"a": {"b": 1, "list": [{"x": 1}], "with.dots": {"c": 1}, "7": 1}}
    assert _settings_repair.places([issue], settings) == [place]


@pytest.mark.parametrize(
    ("path", "foreign"),
    [
        pytest.param(("mine",), True, id="nobody-speaks-about-it"),
        pytest.param(("gateway", "mine"), True, id="beside-the-inventorys"),
        pytest.param(("gateway", "port"), False, id="the-inventorys"),
        pytest.param(("gateway", "port", "below"), False, id="in-place-of-the-inventorys"),
        pytest.param(("removed",), False, id="removed-by-the-inventory"),
        pytest.param(("meta", "x"), False, id="openclaws"),
    ],
)
def test_which_keys_are_the_hosts_own(path: tuple[str, ...], foreign: bool) -> None:
    assert _settings_repair.is_foreign(path, {"gateway": {"port": 1}, "removed": None}) is foreign
