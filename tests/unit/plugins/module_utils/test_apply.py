# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change of settings and secrets over real files, with stand-ins for the release and for the gateway."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.clawops.openclaw.plugins.module_utils import _apply, _merge, _runtime, _settings, _store
from ansible_collections.clawops.openclaw.plugins.module_utils._errors import OpenClawError

if TYPE_CHECKING:
    from ansible_collections.clawops.openclaw.tests.unit.plugins.conftest import Host, Killed, Within

REAL_GATEWAY = _runtime.Gateway
STAMP = ("secrets", "providers", "clawops", "timeoutMs")
TOKEN_REF = {"source": "file", "provider": "clawops", "id": "/TOKEN"}


def stamp(host: Host) -> Any:
    return _merge.lookup(host.read(), STAMP)


def without_provider(value: Any) -> Any:
    """Settings without what every test's settings have."""
    return {key: item for key, item in value.items() if key != "secrets"}


# ---- the plain way -----------------------------------------------------------------------------------


def test_the_first_run_writes_what_is_desired_and_waits_for_its_confirmation(host: Host) -> None:
    result = host.run(settings={"gateway": {"port": 1}, "a": None}, defaults={"b": 2}, secrets={"TOKEN": "s" * 20})
    assert without_provider(host.read()) == {"b": 2, "gateway": {"port": 1}}
    assert host.read(host.secrets) == {"TOKEN": "s" * 20}
    assert (result["changed"], result["pending"], result["validated"]) == (True, True, True)
    assert "gateway.port" in result["changed_keys"]
    assert result["changed_secrets"] == ["TOKEN"]


def test_the_files_are_for_the_account_alone(host: Host) -> None:
    host.deploy(secrets={"TOKEN": "s" * 20})
    host.deploy(secrets={"TOKEN": "t" * 20})
    modes = {name: oct(mode) for name, (mode, _content) in host.tree().items()}
    assert modes.pop("etc/secrets.json") == "0o400"
    assert set(modes.values()) == {"0o600"}


def test_a_second_run_changes_nothing_and_starts_no_process(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    desired: dict[str, Any] = {
        "settings": {"a": {"b": [1, None]}},
        "secrets": {"TOKEN": "s" * 20},
        "generate": ["MADE"],
    }
    host.deploy(**desired)
    package = host.root / "releases/2026.9.6/node_modules/openclaw/package.json"
    package.parent.mkdir(parents=True)
    package.write_text("{}")
    before = host.tree()

    def no_process(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.undo()  # the real release and the real gateway
    for name in ("run", "Popen"):
        monkeypatch.setattr(subprocess, name, no_process)
    for name in ("fork", "posix_spawn", "system"):
        monkeypatch.setattr(os, name, no_process)
    result = host.run(**desired)
    assert (result["changed"], result["pending"], result["changed_keys"], result["notes"]) == (False, False, [], [])
    assert host.tree() == before


def test_the_bytes_that_were_validated_are_the_bytes_that_were_written(host: Host) -> None:
    asked: list[dict[str, Any]] = [{"a": {"ü": "é"}}, {"a": {"b": 1}, "c": [None]}, {"a": None}]
    for desired in asked:
        host.run(settings=desired)
        assert host.release.seen[-1] == host.settings.read_bytes()


VALUES: list[Any] = [1, True, "x", None, [], [None], {}, {"a": 1}, {"ü": {"a": None}}, {"b": "ü"}]
PATHS = [("a",), ("b",), ("ü",), ("a", "b"), ("a", "ü"), ("b", "a")]
SIDES = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)]
STATEMENTS = list(itertools.product(VALUES, PATHS, SIDES))


def world(numbers: bytes) -> tuple[dict[str, Any], ...]:
    """What was applied, what is desired and what stands in the file, out of two bytes for each statement."""
    sides: tuple[dict[str, Any], ...] = ({}, {}, {})
    for first, second in zip(numbers[::2], numbers[1::2], strict=False):
        value, (key, *below), places = STATEMENTS[(256 * first + second) % len(STATEMENTS)]
        for place in places:
            node = sides[place]
            if below:
                node[key] = node[key] if isinstance(node.get(key), dict) else {}
                node, key_here = node[key], below[0]
            else:
                key_here = key
            node[key_here] = copy.deepcopy(value)
    return sides


WORLDS = st.tuples(st.binary(min_size=2, max_size=14).map(world), st.booleans())
# Several to an example: with one to each, what Hypothesis does about it is a fifth of the time.
AT_ONCE = 10


Worlds = list[tuple[tuple[dict[str, Any], ...], bool]]
each_ten_worlds = settings(
    max_examples=settings.get_profile("laws").max_examples // AT_ONCE,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def on_the_host(host: Host, worlds: Worlds) -> Iterator[tuple[dict[str, Any], ...]]:
    """What was applied, what is desired, what is in the file and what the role owns, once all of it is on the host."""
    ours = _merge.overlay(host.parameters()["owned"], {"secrets": {"providers": {"clawops": {"timeoutMs": 5000}}}})
    for (applied, desired, live), deployed_before in worlds:
        if deployed_before:
            applied, live = _merge.overlay(applied, ours), {**live, **ours}
        host.release.seen.clear()
        host.write(live)
        judged = hashlib.sha256(host.settings.read_bytes()).hexdigest()
        note = {"applied": applied, "secrets": [], "validated_by": "2026.9.6", "judged": judged}
        host.journal.write_text(json.dumps(note))
        yield applied, desired, live, ours


@each_ten_worlds
@given(st.lists(WORLDS, min_size=AT_ONCE, max_size=AT_ONCE))
def test_the_result_of_a_merge_is_always_what_validation_saw(host_in_memory: Host, worlds: Worlds) -> None:
    host = host_in_memory
    for applied, desired, live, ours in on_the_host(host, worlds):
        before = host.settings.read_bytes()
        result = host.run(settings=desired)
        after = host.settings.read_bytes()
        expected = _merge.merge(applied=applied, desired=_merge.overlay(desired, ours), live=live)
        assert _merge.same(json.loads(after), expected)
        assert result["changed"] == (not _merge.same(live, expected))
        assert host.release.seen == ([after] if result["changed"] else [])
        assert result["changed"] or after == before


def test_nothing_is_written_that_the_release_refuses(host: Host) -> None:
    host.deploy(settings={"a": 1})
    before = host.tree()
    host.release.issues.append({"path": "b", "message": "Invalid input"})
    with pytest.raises(OpenClawError, match=r"gateway_settings\.b: Invalid input\. "):
        host.run(settings={"b": 2}, secrets={"NEW": "x" * 9})
    assert host.tree() == before


def test_every_finding_is_told_at_once(host: Host) -> None:
    host.release.issues += [{"path": "b", "message": "One"}, {"path": "c", "message": "Two"}]
    with pytest.raises(
        OpenClawError, match=r"(?s)2 settings.*1\. gateway_settings\.b: One.*2\. gateway_settings\.c: Two"
    ):
        host.run(settings={"b": 2})


def test_what_the_release_warns_of_is_passed_on(host: Host) -> None:
    host.release.warnings.append("plugin not found")
    assert host.run(settings={"b": 2})["notes"] == ["OpenClaw 2026.9.6: plugin not found"]


def test_another_release_judges_settings_that_have_not_changed(host: Host) -> None:
    host.deploy(settings={"a": 1})
    assert host.run(settings={"a": 1})["validated"] is False
    newer = str(host.root / "releases/2026.9.7")
    result = host.run(settings={"a": 1}, release=newer)
    assert (result["changed"], result["validated"]) == (False, True)
    assert host.run(settings={"a": 1}, release=newer)["validated"] is False


def test_a_key_that_is_no_longer_desired_goes_and_a_foreign_one_stays(host: Host) -> None:
    host.deploy(settings={"a": {"ours": 1, "also": 2}})
    live = host.read()
    live["a"]["theirs"] = 3
    live["meta"] = {"lastTouchedVersion": "2026.9.6"}
    host.write(live)
    result = host.run(settings={"a": {"also": 2}})
    assert without_provider(host.read()) == {"a": {"also": 2, "theirs": 3}, "meta": {"lastTouchedVersion": "2026.9.6"}}
    assert (result["changed_keys"], result["drift"]) == (["a.ours"], [])


def test_a_desired_absence_removes_a_foreign_key(host: Host) -> None:
    host.deploy()
    host.write({**host.read(), "theirs": {"x": 1}})
    assert host.run(settings={"theirs": None})["changed_keys"] == ["theirs.x"]
    assert "theirs" not in host.read()


def test_the_version_before_is_kept(host: Host) -> None:
    host.deploy(settings={"a": 1})
    first = host.settings.read_bytes()
    host.deploy(settings={"a": 2})
    assert host.previous.read_bytes() == first


@pytest.mark.parametrize("name", ["settings", "secrets"])
def test_a_wrong_mode_is_put_right(host: Host, name: str) -> None:
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    before = host.tree()
    path: Path = getattr(host, name)
    path.chmod(0o644)
    assert host.run(settings={"a": 1}, secrets={"TOKEN": "s" * 20}, check_mode=True)["changed"] is True
    result = host.run(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    assert (result["changed"], result["pending"], result["changed_keys"]) == (True, False, [])
    assert {**host.tree(), "lib/openclaw.json.previous": None} == {**before, "lib/openclaw.json.previous": None}


def test_files_belong_to_the_gateways_account_but_for_the_note_of_what_was_applied(
    open_directory: Path, another_account: _store.Account, programs: None, host: Host
) -> None:
    theirs = type(host)(open_directory, owner=another_account.name)
    for path in (theirs.settings.parent, theirs.secrets.parent):
        os.chown(path, another_account.uid, another_account.gid)
    theirs.deploy(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    theirs.deploy(settings={"a": 2}, secrets={"TOKEN": "t" * 20})
    owners = {path: path.stat().st_uid for path in theirs.root.rglob("*") if path.is_file()}
    assert owners.pop(theirs.journal) == 0
    assert {*owners.values()} == {another_account.uid}
    os.chown(theirs.settings, 0, 0)
    told = rf"openclaw\.json: cannot be read: Permission denied\. Give it back: chown -R {another_account.name}: /"
    with pytest.raises(OpenClawError, match=told):
        theirs.run(settings={"a": 2}, secrets={"TOKEN": "t" * 20})


# ---- check mode --------------------------------------------------------------------------------------


def test_check_mode_on_a_fresh_host_predicts_without_a_release(host_without_account: Host) -> None:
    host = host_without_account
    result = host.run(check_mode=True, settings={"a": 1}, secrets={"TOKEN": "s" * 20}, generate=["MADE"])
    assert (result["changed"], result["validated"]) == (True, False)
    assert result["changed_secrets"] == ["MADE", "TOKEN"]
    assert host.tree() == {}


def test_check_mode_validates_and_writes_nothing(host: Host) -> None:
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    before = host.tree()
    desired: dict[str, Any] = {"settings": {"a": 2}, "secrets": {"TOKEN": "t" * 20, "NEW": "n" * 20}}
    predicted = host.run(check_mode=True, **desired)
    assert host.tree() == before
    assert predicted["validated"] is True
    done = host.run(**desired)
    assert {**predicted, "pending": None} == {**done, "pending": None}


@pytest.mark.parametrize("state", ["confirmed", "rolled_back"])
def test_check_mode_of_the_other_states_writes_nothing(host: Host, state: str) -> None:
    host.deploy(settings={"a": 1})
    host.run(settings={"a": 2})
    before = host.tree()
    host.run(check_mode=True, state=state)
    assert host.tree() == before


def test_without_the_release_nothing_is_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.release, "installed", False)
    with pytest.raises(OpenClawError, match=r"OpenClaw 2026\.9\.6: is not installed in .*\. Run the whole role"):
        host.run(settings={"a": 1})
    assert host.tree() == {}


def test_without_the_account_nothing_is_written(host: Host, another_account: _store.Account) -> None:
    with pytest.raises(OpenClawError, match="The account no-such-account: does not exist"):
        host.run(owner="no-such-account")
    assert host.tree() == {}


# ---- drift -------------------------------------------------------------------------------------------


def test_drift_is_reported_and_reverted(host: Host) -> None:
    host.deploy(settings={"a": {"b": 1}, "c": 2})
    live = host.read()
    live["a"]["b"] = 9
    del live["c"]
    host.write(live)
    result = host.run(settings={"a": {"b": 1}, "c": 2})
    assert (result["changed"], result["drift"]) == (True, ["a.b", "c"])
    assert any("gateway_settings.a.b was changed on the host" in note for note in result["notes"])
    assert without_provider(host.read()) == {"a": {"b": 1}, "c": 2}


def test_a_file_that_somebody_changed_is_judged_again_and_the_hosts_own_keys_are_named_as_such(host: Host) -> None:
    host.deploy(settings={"session": {"dmScope": "per-peer"}})
    host.write({**host.read(), "session": {"dmScope": "per-peer", "idleMinutes": 60}, "meta": {"lastTouchedAt": "x"}})
    host.release.issues[:] = [
        {"path": "session", "message": 'Unrecognized keys: "idleMinutes", "dmScope"'},
        {"path": "meta.lastTouchedAt", "message": "Invalid"},
    ]
    before = host.tree()
    with pytest.raises(OpenClawError) as refused:
        host.run(settings={"session": {"dmScope": "per-peer"}})
    told = str(refused.value)
    remedy = "The inventory does not write it. Remove it in that file, or write {}: null in gateway_settings."
    for key in ("session.idleMinutes", "meta.lastTouchedAt"):
        assert f"{host.settings}: {key}: " in told
        assert remedy.format(key) in told
    assert "gateway_settings.session.dmScope: Unrecognized" in told
    assert host.tree() == before
    # null is the way out.
    host.release.issues.clear()
    host.run(settings={"session": {"dmScope": "per-peer", "idleMinutes": None}, "meta": {"lastTouchedAt": None}})
    assert (host.read()["session"], host.read()["meta"]) == ({"dmScope": "per-peer"}, {})


def test_drift_is_reported_and_kept_where_that_is_desired(host: Host) -> None:
    host.deploy(settings={"a": {"b": 1}, "c": 2})
    live = host.read()
    live["a"]["b"] = 9
    del live["c"]
    host.write(live)
    before = host.settings.read_bytes(), host.secrets.read_bytes()
    for judged in (True, False):
        result = host.run(settings={"a": {"b": 1}, "c": 2}, drift="keep")
        assert (result["changed"], result["drift"], result["validated"]) == (False, ["a.b", "c"], judged)
    assert (host.settings.read_bytes(), host.secrets.read_bytes()) == before


def test_kept_drift_outlives_another_change(host: Host) -> None:
    host.deploy(settings={"a": 1, "c": 1})
    host.write({**host.read(), "a": 9})
    host.deploy(settings={"a": 1, "c": 2}, drift="keep")
    result = host.run(settings={"a": 1, "c": 2}, drift="keep")
    assert (result["changed"], result["drift"], host.read()["a"]) == (False, ["a"], 9)
    host.run(settings={"a": 1, "c": 2}, drift="revert")
    assert host.read()["a"] == 1


def test_a_new_desired_value_is_stronger_than_kept_drift(host: Host) -> None:
    host.deploy(settings={"a": 1})
    host.write({**host.read(), "a": 9})
    host.run(settings={"a": 2}, drift="keep")
    assert host.read()["a"] == 2


# ---- a file that cannot be read ----------------------------------------------------------------------

UNREADABLE = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"a": 1, "b', id="torn"),
    pytest.param(b"[]", id="a-list"),
    pytest.param(b"null", id="null"),
    pytest.param(b"\xff\xfe{", id="no-text"),
    pytest.param(b"// nothing but a comment", id="a-comment"),
]


def broken(host: Host, content: bytes) -> None:
    host.deploy(settings={"a": 1})
    host.deploy(settings={"a": 2})
    host.settings.write_bytes(content)


@pytest.mark.parametrize("content", UNREADABLE)
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check-mode"])
def test_a_file_that_cannot_be_read_is_left_and_the_choices_are_told(
    host: Host, content: bytes, check_mode: bool
) -> None:
    broken(host, content)
    before = host.tree()
    with pytest.raises(OpenClawError) as error:
        host.run(settings={"a": 3}, check_mode=check_mode)
    assert error.value.subject == str(host.settings)
    assert f"gateway_settings_recover=previous starts from {host.previous}" in error.value.remedy
    assert "gateway_settings_recover=discard" in error.value.remedy
    assert "last_good" not in error.value.remedy
    assert host.tree() == before


def test_the_copy_that_openclaw_keeps_is_offered_where_there_is_one(host: Host) -> None:
    broken(host, b"{")
    host.last_good.write_text("{}")
    with pytest.raises(OpenClawError, match=f"gateway_settings_recover=last_good starts from {host.last_good}"):
        host.run()


@pytest.mark.parametrize("content", UNREADABLE)
@pytest.mark.parametrize(
    ("recover", "result"),
    [("last_good", {"good": 1, "a": 3}), ("previous", {"a": 3}), ("discard", {"a": 3})],
)
def test_a_file_that_cannot_be_read_is_kept_beside_what_takes_its_place(
    host: Host, content: bytes, recover: str, result: dict[str, Any]
) -> None:
    broken(host, content)
    host.last_good.write_text('{"good": 1, "a": 7}')
    previous = host.previous.read_bytes()
    assert host.run(settings={"a": 3}, recover=recover, check_mode=True)["changed"] is True
    assert host.settings.read_bytes() == content
    answer = host.run(settings={"a": 3}, recover=recover)
    # What somebody has broken nobody has set.
    assert (answer["changed"], answer["drift"]) == (True, [])
    assert without_provider(host.read()) == result
    [kept] = host.root.glob("lib/openclaw.json.unreadable-*")
    assert kept.read_bytes() == content
    assert host.previous.read_bytes() == previous
    host.run(state="confirmed")
    assert host.run(settings={"a": 3})["changed"] is False


def link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere.json"))


def directory(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [link, directory, pipe])
def test_what_is_no_file_is_left_until_the_operator_decides(host: Host, make: Callable[[Path], None]) -> None:
    host.deploy(settings={"a": 1})
    elsewhere = host.settings.with_name("elsewhere.json")
    elsewhere.write_text('{"of": "somebody else"}')
    host.settings.unlink()
    make(host.settings)
    with pytest.raises(
        OpenClawError, match=r"json: cannot be read: it is [a-z ]*\. It was left as it is\. .*_recover=discard"
    ):
        host.run(settings={"a": 1})
    assert not host.settings.is_file() or host.settings.is_symlink()
    host.run(settings={"a": 1}, recover="discard")
    assert without_provider(host.read()) == {"a": 1}
    assert not host.settings.is_symlink()
    assert len(list(host.root.glob("lib/openclaw.json.unreadable-*"))) == 1
    assert elsewhere.read_text() == '{"of": "somebody else"}'


def test_a_copy_that_is_not_there_cannot_be_started_from(host: Host) -> None:
    broken(host, b"{")
    before = host.tree()
    with pytest.raises(OpenClawError, match=r"last-good: is not there to start from\. There is: previous; "):
        host.run(recover="last_good")
    assert host.tree() == before


def test_a_copy_that_cannot_be_read_either_is_refused(host: Host) -> None:
    broken(host, b"{")
    host.previous.write_bytes(b"[")
    with pytest.raises(OpenClawError, match=r"previous: cannot be read either: .*discard"):
        host.run(recover="previous")


def test_recover_changes_nothing_where_the_file_can_be_read(host: Host) -> None:
    host.deploy(settings={"a": 1})
    assert host.run(settings={"a": 1}, recover="discard")["changed"] is False


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b"\xff"], ids=["torn", "a-list", "a-text", "no-text"])
def test_a_secrets_file_that_cannot_be_read_is_not_overwritten(host: Host, content: bytes) -> None:
    host.deploy(secrets={"TOKEN": "s" * 20})
    host.secrets.chmod(0o600)
    host.secrets.write_bytes(content)
    before = host.tree()
    with pytest.raises(OpenClawError) as error:
        host.run(secrets={"TOKEN": "s" * 20})
    assert error.value.subject == str(host.secrets)
    assert host.tree() == before


def test_a_journal_that_cannot_be_read_is_as_good_as_none(host: Host) -> None:
    host.deploy(settings={"a": 1})
    host.journal.write_text("{")
    assert host.run(settings={"a": 1})["changed"] is False
    assert host.read(host.journal)["applied"]["a"] == 1


# ---- JSON5 -------------------------------------------------------------------------------------------

JSON5 = '{"theirs": 1} // by hand'


def test_json5_is_read_and_what_is_written_is_json(host: Host) -> None:
    host.write(JSON5)
    host.deploy(settings={"a": 1})
    assert without_provider(host.read()) == {"theirs": 1, "a": 1}
    assert host.previous.read_text() == JSON5


def test_json5_that_needs_no_change_stays_and_is_remembered(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.deploy(settings={"a": 1})
    text = host.settings.read_text() + "// by hand"
    host.write(text)
    assert host.run(settings={"a": 1})["changed"] is False
    assert host.settings.read_text() == text
    monkeypatch.setattr(host.release, "parse_json5", None)  # a second look at it would start a process
    assert host.run(settings={"a": 1})["changed"] is False
    assert host.run(settings={"a": 1}, check_mode=True)["changed"] is False
    assert host.settings.read_text() == text


def test_json5_that_was_edited_again_is_read_again(host: Host) -> None:
    host.deploy(settings={"a": 1})
    live = host.read()
    host.write(json.dumps(live) + "// once")
    host.run(settings={"a": 1})
    host.write(json.dumps({**live, "a": 5}) + "// twice")
    assert host.run(settings={"a": 1})["drift"] == ["a"]
    assert host.read()["a"] == 1


# ---- secrets -----------------------------------------------------------------------------------------


def test_a_secret_is_made_once(host: Host) -> None:
    host.deploy(generate=["TOKEN"])
    made = host.read(host.secrets)["TOKEN"]
    assert len(made) >= 32
    assert host.run(generate=["TOKEN"])["changed"] is False
    host.deploy(generate=["TOKEN"], settings={"a": 1}, secrets={"OTHER": "o" * 20})
    assert host.read(host.secrets) == {"TOKEN": made, "OTHER": "o" * 20}


def test_a_given_secret_is_stronger_than_a_made_one(host: Host) -> None:
    host.deploy(generate=["TOKEN"], secrets={"TOKEN": "given" * 4})
    assert host.read(host.secrets) == {"TOKEN": "given" * 4}


def test_a_secret_that_is_no_longer_given_but_may_be_made_is_kept(host: Host) -> None:
    host.deploy(generate=["TOKEN"], secrets={"TOKEN": "given" * 4})
    host.deploy(generate=["TOKEN"])
    assert host.read(host.secrets) == {"TOKEN": "given" * 4}


def test_a_made_secret_that_is_no_longer_asked_for_goes(host: Host) -> None:
    host.deploy(generate=["TOKEN"])
    host.deploy()
    assert host.read(host.secrets) == {}


def test_a_rotated_secret_changes_the_stamp_each_time(host: Host) -> None:
    stamps = []
    for value in ("one", "two", "three"):
        host.deploy(secrets={"TOKEN": value * 5})
        stamps.append(stamp(host))
    assert stamps[0] != stamps[1] != stamps[2]
    assert host.run(secrets={"TOKEN": "three" * 5})["changed"] is False


@pytest.mark.parametrize("value", ["5000", 7, None, {"a": 1}], ids=repr)
def test_a_stamp_that_is_not_ours_becomes_ours(host: Host, value: Any) -> None:
    host.write({"secrets": {"providers": {"clawops": {"timeoutMs": value}}}})
    host.deploy()
    assert stamp(host) in (5000, 5001)
    assert host.run()["changed"] is False


def test_a_foreign_secret_stays(host: Host) -> None:
    host.secrets.write_text('{"THEIRS": "x", "NESTED": {"a": 1}}')
    for value in ("one", "two"):
        host.deploy(secrets={"OURS": value * 5})
        assert host.run(secrets={"OURS": value * 5})["changed"] is False
    assert host.read(host.secrets) == {"THEIRS": "x", "NESTED": {"a": 1}, "OURS": "two" * 5}
    host.deploy()
    assert host.read(host.secrets) == {"THEIRS": "x", "NESTED": {"a": 1}}


def test_a_secret_that_is_no_longer_given_goes(host: Host) -> None:
    host.deploy(secrets={"A": "a" * 20, "B": "b" * 20})
    result = host.run(secrets={"A": "a" * 20})
    assert (result["changed_secrets"], host.read(host.secrets)) == (["B"], {"A": "a" * 20, "B": "b" * 20})
    host.run(state="confirmed")
    assert host.read(host.secrets) == {"A": "a" * 20}


def test_secrets_grow_before_the_settings_change_and_shrink_after(host: Host) -> None:
    ref = _settings.secret_ref
    desired: dict[str, Any] = {"gateway": {"port": 1}}
    host.deploy(settings={**desired, "x": ref("OLD")}, secrets={"OLD": "o" * 20, "BOTH": "1" * 20})
    host.gateway.serves = True
    host.run(settings={**desired, "x": ref("NEW")}, secrets={"NEW": "n" * 20, "BOTH": "2" * 20})
    [(_event, settings_then, secrets_then)] = host.gateway.seen
    assert settings_then["x"] == ref("NEW")
    assert secrets_then == {"OLD": "o" * 20, "NEW": "n" * 20, "BOTH": "2" * 20}
    assert host.read(host.secrets) == {"NEW": "n" * 20, "BOTH": "2" * 20}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("lower", "x", id="small-letters"),
        pytest.param("1ST", "x", id="a-digit-first"),
        pytest.param("WITH-DASH", "x", id="a-dash"),
        pytest.param("TOKEN\n", "x", id="a-line-break"),
        pytest.param("A" * 129, "x", id="too-long"),
        pytest.param("", "x", id="no-name"),
        pytest.param("TOKEN", "", id="an-empty-text"),
        pytest.param("TOKEN", None, id="null"),
        pytest.param("TOKEN", 5, id="a-number"),
        pytest.param("TOKEN", {"a": "x"}, id="an-object"),
    ],
)
def test_what_cannot_be_a_secret_is_refused(host: Host, name: str, value: Any) -> None:
    with pytest.raises(OpenClawError) as error:
        host.run(secrets={name: value})
    assert error.value.subject == f"gateway_secrets.{name}".replace("\n", " ")
    assert host.tree() == {}


# ---- asked that cannot be -----------------------------------------------------------------------------

OWNED = {"gateway": {"port": 1, "auth": {"token": TOKEN_REF}}, "empty": {}}


@pytest.mark.parametrize(
    ("desired", "subject"),
    [
        pytest.param({"gateway": {"port": 2}}, "gateway.port", id="another-value"),
        pytest.param({"gateway": {"port": True}}, "gateway.port", id="true-for-one"),
        pytest.param({"gateway": {"port": None}}, "gateway.port", id="its-absence"),
        pytest.param({"gateway": {"port": {"x": 1}}}, "gateway.port", id="an-object"),
        pytest.param({"gateway": {"auth": {"token": "abc"}}}, "gateway.auth.token", id="a-text-for-a-reference"),
        pytest.param({"gateway": {"auth": None}}, "gateway.auth", id="the-absence-of-what-holds-it"),
        pytest.param({"gateway": 5}, "gateway", id="a-value-for-what-holds-it"),
        pytest.param({"gateway": []}, "gateway", id="a-list-for-what-holds-it"),
    ],
)
def test_a_setting_against_the_role_is_refused(host: Host, desired: dict[str, Any], subject: str) -> None:
    with pytest.raises(OpenClawError) as error:
        host.run(settings=desired, owned=OWNED, secrets={"TOKEN": "s" * 20})
    assert error.value.subject == f"gateway_settings.{subject}"
    assert "the role needs it to be" in error.value.reason
    assert "from a variable of its own" in error.value.remedy
    assert host.tree() == {}


@pytest.mark.parametrize(
    "desired",
    [
        pytest.param({"gateway": {"port": 1}}, id="the-same-value"),
        pytest.param({"gateway": {"auth": {"token": TOKEN_REF, "mode": "token"}}}, id="a-key-beside-it"),
        pytest.param({"gateway": {}}, id="an-empty-object-around-it"),
    ],
)
def test_a_setting_that_agrees_with_the_role_is_taken(host: Host, desired: dict[str, Any]) -> None:
    host.run(settings=desired, owned=OWNED, secrets={"TOKEN": "s" * 20})
    assert host.read()["gateway"]["auth"]["token"] == TOKEN_REF


def test_a_default_gives_way_and_what_the_role_owns_does_not(host: Host) -> None:
    host.run(defaults={"a": 1, "b": {"c": 1, "d": 1}}, settings={"a": None, "b": {"c": 2}}, owned={"b": {"e": 3}})
    assert without_provider(host.read()) == {"b": {"c": 2, "d": 1, "e": 3}}


@pytest.mark.parametrize(
    ("desired", "words"),
    [
        pytest.param({"meta": {"x": 1}}, r"gateway_settings\.meta: OpenClaw keeps this key", id="a-reserved-key"),
        pytest.param({"monitoring": {"x": 1}}, r"monitoring: monitoring\.\* does not exist", id="a-retired-key"),
        pytest.param(
            {"a": _settings.secret_ref("NONE")}, r"settings\.a: the secret 'NONE' is not given", id="a-secret"
        ),
        pytest.param({"a": "${NONE}"}, r"settings\.a: the environment variable NONE is nowhere", id="a-variable"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_written(
    host: Host, desired: dict[str, Any], words: str
) -> None:
    host.deploy(settings={"a": 1})
    before = host.tree()
    for check_mode in (True, False):
        with pytest.raises(OpenClawError, match=words):
            host.run(settings=desired, check_mode=check_mode)
    assert host.tree() == before


def test_a_made_secret_may_be_referred_to(host: Host) -> None:
    host.run(settings={"a": _settings.secret_ref("MADE")}, generate=["MADE"])
    assert host.read()["a"] == _settings.secret_ref("MADE")


def test_a_secret_that_is_still_referred_to_cannot_go(host: Host) -> None:
    host.deploy(settings={"a": _settings.secret_ref("TOKEN")}, secrets={"TOKEN": "s" * 20})
    with pytest.raises(OpenClawError, match="the secret 'TOKEN' is not given"):
        host.run(settings={"a": _settings.secret_ref("TOKEN")})


# ---- what is shown -------------------------------------------------------------------------------------


def test_the_difference_shows_keys_of_ours_alone_with_every_secret_masked(host: Host) -> None:
    old, new, plain, former = "old-token-0001", "new-token-0002", "plain-secret-3", "former-plain-4"
    host.secrets.write_text(json.dumps({"TOKEN": old}))
    host.write({"theirs": {"x": "foreign"}, "models": {"apiKey": former}, "note": f"{old} {former}"})
    result = host.run(
        settings={"models": {"apiKey": plain}, "note": f"url?key={new}&other={plain}", "a": [new, {new: 1}]},
        secrets={"TOKEN": new, "OTHER": "other-secret-5"},
        generate=["MADE"],
    )
    shown = json.dumps(result)
    for secret in (old, new, plain, former, "other-secret-5", host.read(host.secrets)["MADE"]):
        assert secret not in shown
    assert "foreign" not in shown
    before, after = result["diff"]["before"], result["diff"]["after"]
    assert before["settings"]["models"] == {"apiKey": "********"} == after["settings"]["models"]
    assert before["secrets"] == {"TOKEN": "(old value)"}
    assert after["secrets"] == {"MADE": "(new value)", "OTHER": "(new value)", "TOKEN": "(new value)"}
    assert result["plain_secrets"] == ["models.apiKey"]
    assert any("gateway_settings.models.apiKey holds a secret as plain text" in note for note in result["notes"])


def test_the_difference_of_no_change_has_two_equal_sides(host: Host) -> None:
    host.deploy(settings={"a": {"b": 1}, "c": None}, secrets={"TOKEN": "s" * 20})
    host.write({**host.read(), "theirs": 1})
    diff = host.run(settings={"a": {"b": 1}, "c": None}, secrets={"TOKEN": "s" * 20})["diff"]
    assert diff["before"] == diff["after"]
    assert diff["after"]["secrets"] == {"TOKEN": "(kept)"}
    assert "theirs" not in diff["after"]["settings"]


def test_the_difference_shows_a_key_that_goes(host: Host) -> None:
    host.deploy(settings={"a": {"b": 1}}, secrets={"TOKEN": "s" * 20})
    diff = host.run(check_mode=True)["diff"]
    assert diff["before"]["settings"]["a"] == {"b": 1}
    assert "a" not in diff["after"]["settings"]
    assert (diff["before"]["secrets"], diff["after"]["secrets"]) == ({"TOKEN": "(old value)"}, {})


@pytest.mark.parametrize(
    ("desired", "kind"),
    [
        pytest.param({"settings": {"logging": {"level": "info"}}}, "hot", id="hot"),
        pytest.param({"settings": {"gateway": {"port": 5}}}, "restart", id="restart"),
        pytest.param({}, "none", id="none"),
    ],
)
def test_what_the_gateway_will_do_is_predicted(host: Host, desired: dict[str, Any], kind: str) -> None:
    host.deploy()
    assert host.run(check_mode=True, **desired)["reload"] == kind


# ---- a gateway that serves -----------------------------------------------------------------------------

SERVING = {"gateway": {"port": 18789}}


def test_a_change_that_the_gateway_takes_is_settled_at_once(host: Host) -> None:
    host.deploy(settings=SERVING)
    host.gateway.serves = True
    result = host.run(settings={**SERVING, "logging": {"level": "info"}})
    assert (result["reload"], result["pending"]) == ("hot", False)
    assert result["notes"] == ["what the operator should know"]
    assert "pending" not in host.read(host.journal)
    assert host.run(settings={**SERVING, "logging": {"level": "info"}})["changed"] is False
    assert [event for event, *_ in host.gateway.seen] == ["take"]


def test_a_change_of_the_port_is_awaited_on_the_new_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.deploy(settings=SERVING)
    asked: list[tuple[int, int, bool]] = []

    def take(self: Any, content: bytes, *, port: int, restart: bool, timeout: float) -> str:
        asked.append((self.given["port"], port, restart))
        return "restart"

    monkeypatch.setattr(host.gateway, "take", take)
    host.gateway.serves = True
    host.run(settings={"gateway": {"port": 18790}})
    host.run(settings={"gateway": {"port": None}})
    assert asked == [(18789, 18790, True), (18790, 18789, True)]


def test_a_gateway_that_is_about_to_be_replaced_is_not_asked(host: Host) -> None:
    host.deploy(settings=SERVING)
    host.gateway.serves = True
    assert host.run(settings={**SERVING, "a": 1}, confirm=False)["pending"] is True
    assert host.gateway.seen == []


def test_a_change_that_the_gateway_refuses_is_taken_back(host: Host) -> None:
    host.deploy(settings={**SERVING, "a": 1}, secrets={"TOKEN": "s" * 20})
    before = host.tree()
    host.gateway.serves, host.gateway.refuses = True, "config reload failed: no such thing."
    with pytest.raises(OpenClawError) as error:
        host.run(settings={**SERVING, "a": 2}, secrets={"TOKEN": "t" * 20, "NEW": "n" * 20})
    assert error.value.subject == str(host.settings)
    assert "did not take the change: config reload failed: no such thing." in error.value.reason
    assert "The previous settings are back" in error.value.remedy
    assert {**host.tree(), "lib/openclaw.json.previous": None} == {**before, "lib/openclaw.json.previous": None}
    started = next(seen for seen in host.gateway.seen if seen[0] == "start")
    assert (started[1]["a"], started[2]) == (1, {"TOKEN": "s" * 20})
    host.gateway.refuses = ""
    assert host.run(settings={**SERVING, "a": 1}, secrets={"TOKEN": "s" * 20})["changed"] is False


def test_an_unconfirmed_change_is_rolled_back(host: Host) -> None:
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    before = host.tree()
    assert host.run(settings={"a": 2}, secrets={"TOKEN": "t" * 20})["pending"] is True
    assert host.run(state="rolled_back", check_mode=True)["changed"] is True
    assert host.run(state="rolled_back")["changed"] is True
    assert {**host.tree(), "lib/openclaw.json.previous": None} == {**before, "lib/openclaw.json.previous": None}
    assert host.run(state="rolled_back")["changed"] is False
    assert host.run(settings={"a": 1}, secrets={"TOKEN": "s" * 20})["changed"] is False


def test_a_change_that_the_gateway_has_taken_goes_back_whole_while_it_is_held(host: Host) -> None:
    host.deploy(settings={**SERVING, "a": 1}, secrets={"TOKEN": "s" * 20})
    before = host.read(), host.read(host.secrets)
    host.gateway.serves = True
    changed = {**SERVING, "a": 1, "logging": {"level": "info"}}
    taken = host.run(settings=changed, secrets={"TOKEN": "t" * 20}, hold=True)
    assert (taken["reload"], taken["pending"]) == ("hot", True)
    assert host.run(state="rolled_back")["changed"] is True
    assert (host.read(), host.read(host.secrets)) == before


def test_a_held_change_that_is_confirmed_stays_and_nothing_is_left_to_do(host: Host) -> None:
    host.deploy(settings={**SERVING, "a": 1}, secrets={"TOKEN": "s" * 20})
    host.gateway.serves = True
    changed: dict[str, Any] = {"settings": {**SERVING, "a": 2}, "secrets": {"TOKEN": "t" * 20}, "hold": True}
    host.run(**changed)
    host.run(state="confirmed")
    assert host.run(state="rolled_back")["changed"] is False
    again = host.run(**changed)
    assert (again["changed"], again["pending"]) == (False, False)


def test_a_persons_json5_is_remembered_also_when_a_new_secret_beside_it_was_held(host: Host) -> None:
    host.deploy(settings=SERVING, secrets={"TOKEN": "s" * 20})
    host.gateway.serves = True
    host.settings.write_text("// mine\n" + host.settings.read_text())
    host.run(settings=SERVING, secrets={"TOKEN": "s" * 20})
    host.run(settings=SERVING, secrets={"TOKEN": "t" * 20}, hold=True)
    host.run(state="confirmed")
    raw = host.settings.read_bytes()
    assert host.read(host.journal).get("json5", {}).get("sha256", "") == (
        hashlib.sha256(raw).hexdigest() if raw.startswith(b"//") else ""
    )


@pytest.mark.parametrize("value", ["a-token-with-newline-0123456789abcdef\n", "clé" + "0" * 30, "two words" + "0" * 30])
def test_a_credential_that_no_header_can_carry_is_refused_before_it_is_written(host: Host, value: str) -> None:
    host.deploy(settings={"a": 1}, generate=["TOKEN"])
    before = host.tree()
    with pytest.raises(OpenClawError, match=r"gateway_secrets\.TOKEN: holds a space, a line end or another") as refused:
        host.run(settings={"a": 1}, generate=["TOKEN"], secrets={"TOKEN": value})
    assert value.strip() not in str(refused.value)
    assert host.tree() == before
    # What no header carries may be anything.
    assert host.run(settings={"a": 1}, generate=["TOKEN"], secrets={"OTHER": value})["changed"] is True


def test_a_secret_that_ends_with_a_line_end_is_warned_of(host: Host) -> None:
    secrets = {"API_KEY": "k" * 20 + "\n", "CERTIFICATE": "-----BEGIN\nx\n", "PLAIN": "p" * 20}
    notes = host.run(settings={"a": 1}, secrets=secrets)["notes"]
    assert [note.partition(" ")[0] for note in notes if "line end" in note] == ["gateway_secrets.API_KEY"]


def test_a_confirmed_change_cannot_be_rolled_back(host: Host) -> None:
    host.deploy(settings={"a": 1})
    host.deploy(settings={"a": 2})
    assert host.run(state="rolled_back")["changed"] is False
    assert host.read()["a"] == 2


def test_confirming_is_no_change_and_may_be_repeated(host: Host) -> None:
    host.run(settings={"a": 1}, secrets={"TOKEN": "s" * 20})
    assert host.run(state="confirmed", check_mode=True)["pending"] is True
    for _ in range(2):
        result = host.run(state="confirmed")
        assert (result["changed"], result["pending"]) == (False, False)
    assert host.read(host.journal)["secrets"] == ["TOKEN"]


def taken_back(host: Host, **before: Any) -> None:
    """A start of OpenClaw replaces what was written by the last settings that it took for good, and adds a key of its own."""
    host.write({**host.read(), **before, "meta": {"lastTouchedVersion": "2026.9.6"}})


def test_settings_that_a_start_has_taken_back_are_written_again(host: Host) -> None:
    large = {**SERVING, "a": {str(number): number for number in range(50)}}
    host.deploy(settings=large)
    host.run(settings={**SERVING, "b": 1})
    taken_back(host, a=large["a"], b=None)
    host.gateway.serves = True
    result = host.run(state="confirmed")
    assert (result["changed"], result["pending"]) == (True, False)
    assert "OpenClaw had taken the former settings back at its start" in result["notes"][0]
    assert host.read() == {**host.read(), **SERVING, "b": 1, "meta": {"lastTouchedVersion": "2026.9.6"}}
    assert "a" not in host.read()
    assert [event for event, *_ in host.gateway.seen] == ["take"]
    again = host.run(settings={**SERVING, "b": 1})
    assert (again["changed"], again["pending"]) == (False, False)


def test_what_a_start_has_set_aside_is_what_is_written_again(host: Host) -> None:
    host.deploy(settings={**SERVING, "a": 1})
    host.write({**host.read(), "foreign": 1})
    host.run(settings={**SERVING, "a": 2})
    written = host.settings.read_bytes()
    for name, content in (("2026-01-01", b"{}"), ("2026-01-02", written), ("2026-01-03", b"torn")):
        host.settings.with_name(f"openclaw.json.clobbered.{name}").write_bytes(content)
    host.write({**SERVING, "a": 1})
    host.gateway.serves = True
    assert host.run(state="confirmed")["changed"] is True
    assert (host.read()["a"], host.read()["foreign"]) == (2, 1)
    assert host.settings.read_bytes() == written


def test_a_start_that_adds_keys_of_its_own_has_taken_nothing_back(host: Host) -> None:
    host.run(settings={**SERVING, "b": 1})
    taken_back(host)
    assert host.run(state="confirmed")["changed"] is False
    assert host.gateway.seen == []


def test_settings_that_are_taken_back_again_and_again_are_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.deploy(settings={**SERVING, "a": 1})
    host.run(settings={**SERVING, "a": 2})
    taken_back(host, a=1)
    host.gateway.serves = True
    monkeypatch.setattr(host.gateway, "take", lambda *_given, **_named: taken_back(host, a=1))
    with pytest.raises(OpenClawError, match=r"has taken the former settings back 3 times.*gateway_settings_readonly"):
        host.run(state="confirmed")


def test_a_failed_first_attempt_leaves_no_keys_of_its_own_behind(host: Host) -> None:
    host.run(settings={"a": 1, "wrong": {"x": 1}}, secrets={"WRONG": "w" * 20})
    host.deploy(settings={"a": 1}, secrets={"RIGHT": "r" * 20})
    assert without_provider(host.read()) == {"a": 1}
    assert host.read(host.secrets) == {"RIGHT": "r" * 20}


def test_an_attempt_that_follows_an_unconfirmed_one_can_still_go_back_to_the_confirmed(host: Host) -> None:
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "1" * 20})
    confirmed = host.settings.read_bytes()
    host.run(settings={"a": 2}, secrets={"TOKEN": "2" * 20})
    host.run(settings={"a": 3}, secrets={"TOKEN": "3" * 20})
    host.run(state="rolled_back")
    assert host.settings.read_bytes() == confirmed
    assert host.read(host.secrets) == {"TOKEN": "1" * 20}


# ---- killed in between ---------------------------------------------------------------------------------

Story = Callable[["Host"], None]


def first_deployment(host: Host) -> None:
    host.deploy(settings={"a": {"b": 1}, "token": _settings.secret_ref("TOKEN")}, secrets={"TOKEN": "s" * 20})


def change(host: Host) -> None:
    host.deploy(
        settings={"a": {"c": 2}, "token": _settings.secret_ref("NEW")}, secrets={"NEW": "n" * 20, "BOTH": "2" * 20}
    )


def rotation(host: Host) -> None:
    host.deploy(settings=OLD["settings"], secrets={**OLD["secrets"], "BOTH": "2" * 20})


def removal(host: Host) -> None:
    host.deploy(settings={"token": _settings.secret_ref("TOKEN")}, secrets={"TOKEN": "s" * 20})


def recovery(host: Host) -> None:
    host.deploy(**OLD, recover="previous")


def hot_change(host: Host) -> None:
    host.gateway.serves = True
    host.run(settings={**OLD["settings"], "logging": {"level": "info"}}, secrets={"TOKEN": "t" * 20})


def kept_drift(host: Host) -> None:
    host.deploy(settings={**OLD["settings"], "new": 1}, secrets=OLD["secrets"], drift="keep")


OLD: dict[str, Any] = {
    "settings": {"gateway": {"port": 1}, "a": {"b": 1}, "token": _settings.secret_ref("TOKEN")},
    "secrets": {"TOKEN": "s" * 20, "BOTH": "1" * 20},
}


def nothing(host: Host) -> None:
    """A host where nothing was deployed yet."""


def deployed(host: Host) -> None:
    host.deploy(**OLD)
    live = host.read()
    live["a"]["theirs"] = 5
    host.write({"first": 1, **live})
    host.secrets.chmod(0o600)
    host.secrets.write_text(json.dumps({**host.read(host.secrets), "THEIRS": "f" * 20}))
    host.secrets.chmod(0o400)


def torn(host: Host) -> None:
    deployed(host)
    host.deploy(**{**OLD, "settings": {**OLD["settings"], "z": 1}})
    host.settings.write_text('{"torn')


def drifted(host: Host) -> None:
    deployed(host)
    live = host.read()
    live["a"]["b"] = 99
    host.write(live)


STORIES = [
    pytest.param(nothing, first_deployment, id="first-deployment"),
    pytest.param(deployed, change, id="change"),
    pytest.param(deployed, rotation, id="rotation"),
    pytest.param(deployed, removal, id="removal"),
    pytest.param(deployed, hot_change, id="hot-change"),
    pytest.param(torn, recovery, id="recovery"),
    pytest.param(drifted, kept_drift, id="kept-drift"),
]


def settled(host: Host) -> dict[str, Any]:
    """Everything on the host; of an unreadable file's copies, whose names tell the time, only what is in them."""
    tree: dict[str, Any] = {name: found for name, found in host.tree().items() if "unreadable" not in name}
    return {**tree, "unreadable": {content for name, (_, content) in host.tree().items() if "unreadable" in name}}


def copied(host: Host, name: str) -> Host:
    """The same host once more; the paths in its settings stay those of the first."""
    root = host.root.parent / f"{host.root.name}-{name}"
    shutil.copytree(host.root, root)
    twin = copy.copy(host)
    for key, value in vars(host).items():
        if isinstance(value, Path):
            setattr(twin, key, root / value.relative_to(host.root))
    return twin


@pytest.mark.parametrize("after", [False, True], ids=["before-a-rename", "after-a-rename"])
@pytest.mark.parametrize(("before", "story"), STORIES)
def test_whoever_is_killed_is_finished_by_the_next_run(
    tmp_path: Path, programs: None, killed: Killed, host: Host, before: Story, story: Story, after: bool
) -> None:
    root, kept = tmp_path / "host", tmp_path / "kept"

    def fresh() -> Host:
        shutil.rmtree(root, ignore_errors=True)
        if kept.exists():
            shutil.copytree(kept, root)
            subject = copy.copy(again)
        else:
            root.mkdir()
            subject = type(host)(root)
        host.gateway.secrets_path = str(subject.secrets)
        host.gateway.serves = False
        return subject

    again = fresh()
    before(again)
    shutil.copytree(root, kept)
    old = again.settings.read_bytes() if again.settings.exists() else None
    story(again)
    expected, new = settled(again), again.settings.read_bytes()

    for n in range(1, 40):
        subject = fresh()
        came_that_far = killed(lambda subject=subject: story(subject), n, after=after)
        found = subject.settings.read_bytes() if subject.settings.exists() else None
        assert found in (old, new), n
        if found not in (None, b'{"torn'):
            names = {
                value["id"][1:] for _path, value in _settings.walk(json.loads(found)) if _settings.is_secret_ref(value)
            }
            assert names <= set(subject.read(subject.secrets)), n
        story(subject)
        assert settled(subject) == expected, n
        if not came_that_far:
            assert n > 3, "nothing was ever written"
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("after", [False, True], ids=["before-a-rename", "after-a-rename"])
def test_a_rollback_that_is_killed_is_finished_by_the_next(host: Host, killed: Killed, after: bool) -> None:
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "1" * 20})
    confirmed = host.settings.read_bytes(), host.secrets.read_bytes()
    for n in range(1, 20):
        host.run(settings={"a": 2}, secrets={"TOKEN": "2" * 20})
        came_that_far = killed(lambda: host.run(state="rolled_back"), n, after=after)
        host.run(state="rolled_back")
        assert (host.settings.read_bytes(), host.secrets.read_bytes()) == confirmed, n
        assert "pending" not in host.read(host.journal)
        if not came_that_far:
            assert n > 2
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("n", range(1, 8))
def test_a_killed_change_that_is_given_up_leaves_what_was_there(host: Host, killed: Killed, n: int) -> None:
    deployed(host)
    host.run(**OLD)
    confirmed = host.read(), host.read(host.secrets)
    assert killed(lambda: change(host), n, after=True)
    host.run(state="rolled_back")
    if host.read() != confirmed[0]:
        assert "pending" not in host.read(host.journal)
        assert without_provider(host.read())["a"] == {"c": 2, "theirs": 5}
    else:
        assert host.read(host.secrets) == confirmed[1]


@pytest.mark.parametrize("second", range(1, 6))
@pytest.mark.parametrize("first", range(1, 6))
def test_two_killed_attempts_leave_nothing_behind(host: Host, killed: Killed, first: int, second: int) -> None:
    deployed(host)
    killed(lambda: change(host), first, after=True)
    killed(lambda: removal(host), second, after=True)
    host.deploy(**OLD)
    assert without_provider(host.read()) == {"first": 1, **OLD["settings"], "a": {"b": 1, "theirs": 5}}
    assert host.read(host.secrets) == {**OLD["secrets"], "THEIRS": "f" * 20}


def test_what_a_killed_run_left_unfinished_is_swept_away_with_its_secrets(host: Host, killed: Killed) -> None:
    for n in range(1, 8):
        assert killed(lambda n=n: host.deploy(settings={"a": n}, secrets={"TOKEN": str(n) * 20}), n, after=False)
        host.deploy(settings={"a": n}, secrets={"TOKEN": str(n) * 20})
        assert [path.name for path in host.root.rglob(".*")] == [], n


# ---- the preview, by which the preflight tells whether there is anything to do ------------------------


def preview(host: Host, *, reader: str = "", **desired: Any) -> dict[str, Any]:
    params = host.parameters(**desired)
    return _apply.preview(params, reader=reader or params["release"])


def outcome(action: Callable[[], dict[str, Any]]) -> dict[str, Any] | str:
    try:
        return action()
    except OpenClawError as error:
        return str(error)


GIVEN: dict[str, Any] = {"settings": {"a": 1}, "secrets": {"TOKEN": "s" * 20}}


@pytest.mark.parametrize(
    ("desired", "changed"),
    [
        pytest.param({}, False, id="the-same"),
        pytest.param({"settings": {"a": 2}}, True, id="a-value"),
        pytest.param({"settings": {}}, True, id="a-key-that-goes"),
        pytest.param({"settings": {"a": 1, "b": None}}, False, id="the-absence-of-what-is-absent"),
        pytest.param({"settings": {"a": None}}, True, id="the-absence-of-what-is-there"),
        pytest.param({"defaults": {"a": 2}}, False, id="a-default-that-is-overridden"),
        pytest.param({"defaults": {"b": 2}}, True, id="a-default"),
        pytest.param({"secrets": {"TOKEN": "t" * 20}}, True, id="a-secret"),
        pytest.param({"secrets": {}}, True, id="a-secret-that-goes"),
        pytest.param({"generate": ["TOKEN"]}, False, id="a-secret-to-make-that-is-given"),
        pytest.param({"generate": ["MADE"]}, True, id="a-secret-to-make"),
        pytest.param({"settings": {"token": "plain-secret-1"}}, True, id="a-plain-secret-which-is-noted"),
        pytest.param({"settings": {"a": "${NONE}"}}, None, id="an-undefined-variable"),
        pytest.param({"settings": {"a": _settings.secret_ref("NONE")}}, None, id="a-secret-that-is-not-given"),
        pytest.param({"settings": {"meta": {}, "monitoring": {"x": 1}}}, None, id="two-keys-that-are-refused"),
        pytest.param({"secrets": {"no name": "x" * 9}}, None, id="a-name-that-is-refused"),
    ],
)
@pytest.mark.parametrize("refused", [False, True], ids=["", "refused-by-the-release"])
def test_a_preview_predicts_what_check_mode_predicts(
    host: Host, desired: dict[str, Any], changed: bool | None, refused: bool
) -> None:
    host.deploy(**GIVEN)
    host.release.warnings.append("plugin not found")
    host.release.issues += [{"path": "a", "message": "Invalid input"}] if refused else []
    before, given = host.tree(), {**GIVEN, **desired}
    unchanged = copy.deepcopy(given)
    expected = outcome(lambda: host.run(check_mode=True, **given))
    host.release.seen.clear()
    found = outcome(lambda: preview(host, **given))
    assert host.tree() == before
    assert given == unchanged
    if isinstance(expected, str):
        assert changed is None or (changed and refused)
        assert found == expected
    else:
        assert found == {"due": expected["changed"], "notes": expected["notes"]}
        assert expected["changed"] is changed
    assert len(host.release.seen) == (changed is not False), "the release judges what would change"


def test_all_that_is_wrong_is_told_at_once_and_nothing_twice(host: Host) -> None:
    host.deploy(**GIVEN)
    # What the release says of a retired key is explained better already; of another key nothing is yet.
    host.release.issues += [
        {"path": "monitoring", "message": 'Unrecognized key: "monitoring"'},
        {"path": "a", "message": "Invalid input: expected number, received string"},
    ]
    settings = {"a": "x", "b": "${NONE}", "monitoring": {"prometheus": {}}, "meta": {}}
    told = outcome(lambda: preview(host, settings=settings, secrets={"no name": "x" * 9}))
    assert isinstance(told, str)
    for subject in ("monitoring", "meta", "b", "a"):
        assert told.count(f"gateway_settings.{subject}") == 1, subject
    assert told.count("gateway_secrets.no name") == 1
    assert "Unrecognized" not in told


@pytest.mark.parametrize("name", ["settings", "secrets"])
def test_a_wrong_mode_is_due(host: Host, name: str) -> None:
    host.deploy(**GIVEN)
    getattr(host, name).chmod(0o644)
    before = host.tree()
    assert host.run(check_mode=True, **GIVEN)["changed"] is True
    assert preview(host, **GIVEN)["due"] is True
    assert host.tree() == before


def unconfirmed(host: Host) -> None:
    host.deploy(settings={"a": 0}, secrets=GIVEN["secrets"])
    host.run(**GIVEN)


def unvalidated(host: Host) -> None:
    host.deploy(**GIVEN)
    journal = host.read(host.journal)
    host.journal.write_text(json.dumps({**journal, "validated_by": "2026.9.5"}))


def rewritten(host: Host) -> None:
    host.deploy(**GIVEN)
    host.write(host.settings.read_text() + "// by hand")


def left_over(host: Host) -> None:
    host.deploy(**GIVEN)
    host.secrets.with_name("secrets.json.previous").write_text("{}")


@pytest.mark.parametrize("prepare", [unconfirmed, unvalidated, rewritten, left_over])
def test_what_is_not_settled_is_due_without_a_change(host: Host, prepare: Callable[[Host], None]) -> None:
    prepare(host)
    before = host.tree()
    assert host.run(check_mode=True, **GIVEN)["changed"] is False
    host.release.seen.clear()
    assert preview(host, **GIVEN)["due"] is True
    assert host.tree() == before
    assert len(host.release.seen) == (prepare in (unvalidated, rewritten))
    host.deploy(**GIVEN)
    assert preview(host, **GIVEN)["due"] is False


def test_on_a_fresh_host_all_is_due_and_judged_without_a_release(host_without_account: Host) -> None:
    host, fresh = host_without_account, {**GIVEN, "generate": ["MADE"]}
    assert preview(host, **fresh) == {"due": True, "notes": []}
    with pytest.raises(OpenClawError, match=r"gateway_settings\.meta: OpenClaw keeps this key"):
        preview(host, **{**fresh, "settings": {"meta": {}}})
    assert (host.tree(), host.release.seen) == ({}, [])


@pytest.mark.parametrize("content", UNREADABLE)
def test_a_preview_of_a_file_that_cannot_be_read_tells_the_choices_unless_a_release_may_read_it(
    host: Host, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(host, content)
    before = host.tree()
    expected = outcome(lambda: host.run(settings={"a": 3}, check_mode=True))
    assert isinstance(expected, str)
    assert outcome(lambda: preview(host, settings={"a": 3})) == expected
    for recover in ("previous", "discard"):
        assert preview(host, settings={"a": 3}, recover=recover)["due"] is True
    monkeypatch.setattr(host.release, "installed", False)
    assert preview(host, settings={"a": 3}) == {"due": True, "notes": []}
    assert host.tree() == before


def test_the_release_that_runs_reads_what_the_desired_one_cannot_yet(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.deploy(**GIVEN)
    host.write(host.settings.read_text() + "// by hand")
    running = str(host.root / "releases/2026.9.5")
    monkeypatch.setattr(host.release, "installed", property(lambda release: release.path == running))
    read: list[str] = []
    parse = host.release.parse_json5

    def noted(release: Any, content: bytes) -> Any:
        read.append(release.version)
        return parse(release, content)

    monkeypatch.setattr(host.release, "parse_json5", noted)
    host.release.seen.clear()
    before = host.tree()
    assert preview(host, reader=running, **GIVEN)["due"] is True
    # It does not judge: another release may take what it refuses.
    assert (read, host.release.seen) == (["2026.9.5"], [])
    assert host.tree() == before


@each_ten_worlds
@given(st.lists(WORLDS, min_size=AT_ONCE, max_size=AT_ONCE))
def test_something_is_due_exactly_where_a_run_writes_something(host_in_memory: Host, worlds: Worlds) -> None:
    host = host_in_memory
    for _applied, desired, _live, _ours in on_the_host(host, worlds):
        before = host.tree()
        due = preview(host, settings=desired)["due"]
        assert host.tree() == before
        host.run(settings=desired)
        assert due is (host.tree() != before)
        host.run(state="confirmed")
        assert preview(host, settings=desired)["due"] is False


# ---- what a hostile account does --------------------------------------------------------------------------

PENDING = {"desired": {}, "secrets": [], "ours": [], "release": "x", "earlier": [], "existed": True}
SHAPES: list[Any] = [
    {"pending": []},
    {"pending": [1]},
    {"pending": 5},
    {"pending": {}},
    {"applied": [1]},
    {"applied": "x"},
    {"secrets": {"a": 1}},
    {"secrets": [[1]]},
    {"secrets": 5},
    {"json5": []},
    {"json5": {"sha256": 5}},
    {"validated_by": []},
    *({"pending": {**PENDING, name: value}} for name in PENDING for value in (5, [5], {"a": 5}, None, "x")),
    *({"pending": {key: value for key, value in PENDING.items() if key != name}} for name in PENDING),
]


@pytest.mark.parametrize("serves", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("journal", SHAPES, ids=json.dumps)
def test_a_journal_of_another_shape_is_as_good_as_none(
    host: Host, monkeypatch: pytest.MonkeyPatch, journal: Any, serves: bool
) -> None:
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "0123456789"})
    monkeypatch.setattr(host.gateway, "serves", serves)
    for state in ("rolled_back", "confirmed", "present"):
        host.journal.write_text(json.dumps(journal))
        host.run(state=state, settings={"a": 2}, secrets={"TOKEN": "0123456789"})
    assert host.read()["a"] == 2


@pytest.mark.parametrize(
    "content",
    ['{"applied":' * 100_000, '{"applied":' * 400 + "1" + "}" * 400, "9" * 5000, "\ud800"],
    ids=["100000-levels", "400", "digits", "half"],
)
def test_a_journal_that_is_a_trap_is_as_good_as_none(host: Host, content: str) -> None:
    host.deploy(settings={"a": 1})
    host.journal.write_bytes(content.encode(errors="surrogatepass"))
    assert host.run(settings={"a": 1})["changed"] is False


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir], ids=["a-pipe", "a-link", "a-directory"]
)
def test_what_stands_in_the_place_of_the_journal_is_not_waited_for(host: Host, within: Within, make: Any) -> None:
    host.deploy(settings={"a": 1})
    host.journal.unlink()
    make(host.journal)
    assert within(20, lambda: host.run(check_mode=True, settings={"a": 1}))["drift"] == []


@pytest.mark.parametrize("name", ["settings", "secrets", "journal", "previous", "last_good"])
def test_a_hole_in_the_place_of_a_file_takes_no_memory(host: Host, within: Within, name: str) -> None:
    """Measured before: 5 GB resident."""
    host.deploy(settings={"a": 1}, secrets={"TOKEN": "0123456789"})
    path = getattr(host, name)
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(1_500_000_000)
    if name in ("previous", "last_good"):
        host.settings.write_text("{")

    def run() -> str:
        try:
            return str(host.run(settings={"a": 1}, secrets={"TOKEN": "0123456789"})["changed"])
        except OpenClawError as error:
            return str(error)

    answer = within(20, run, memory_mb=100)
    if name in ("settings", "secrets"):
        assert f"{path}: cannot be read: it has more than" in answer


@pytest.mark.parametrize(
    "port", [10**400, 99999, -1, 0, True, "x", [1]], ids=["400-digits", "99999", "-1", "0", "true", "text", "list"]
)
def test_a_port_that_is_none_in_the_file_is_no_traceback(
    host: Host, monkeypatch: pytest.MonkeyPatch, port: Any
) -> None:
    host.deploy(settings={"a": 1})
    monkeypatch.setattr(_runtime, "Gateway", REAL_GATEWAY)
    text = json.dumps({**host.read(), "gateway": {"port": "PORT"}}).replace(
        '"PORT"', "9" * 400 if port == 10**400 else json.dumps(port)
    )
    host.settings.write_text(text)
    with contextlib.suppress(OpenClawError):
        host.run(settings={"a": 2})


def test_settings_of_100000_levels_are_a_finding(host: Host) -> None:
    host.deploy(settings={"a": 1})
    host.settings.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(OpenClawError, match=r"cannot be read: .*more than 100 levels"):
        host.run(settings={"a": 1})


def test_half_a_letter_in_the_settings_is_no_traceback(host: Host) -> None:
    host.deploy(settings={"a": 1})
    host.settings.write_text(json.dumps({**host.read(), "\ud800": "\udfff"}))
    host.run(settings={"a": 2})
    assert host.read()["\ud800"] == "\udfff"


def test_a_key_of_the_file_reaches_no_terminal_raw(host: Host) -> None:
    key = "\x1b]0;title\x07\x1b[31m\nTASK [ok] \ud800" + "x" * 5000
    host.deploy(settings={"a": 1})
    host.journal.write_text(json.dumps({**host.read(host.journal), "applied": {key: 1}}))
    host.write({**host.read(), key: {"apiKey": "0123456789"}})
    result = host.run(settings={"a": 1}, drift="keep")
    words = [*result["drift"], *result["changed_keys"], *result["plain_secrets"], *result["notes"]]
    assert words
    assert all(text.isprintable() and len(text) < 1000 for text in words)


def test_directories_that_the_account_has_closed_are_a_finding_of_the_preflight(
    host: Host, open_directory: Path, another_account: _store.Account
) -> None:
    host = type(host)(open_directory, another_account.name)
    for path in (host.settings.parent, host.secrets.parent):
        os.chown(path, another_account.uid, another_account.gid)
        path.chmod(0o500)
    with pytest.raises(
        OpenClawError, match=r"openclaw\.json: cannot be written as the gateway's account: Permission denied"
    ):
        _apply.preview(host.parameters(settings={"a": 1}), reader="/nonexistent")
