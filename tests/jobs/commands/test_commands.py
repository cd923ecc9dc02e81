"""The client's commands as a user meets them: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

import singlepoint
from singlepoint.jobs.broker import address, connection
from singlepoint.jobs.commands.text import table
from singlepoint.jobs.errors import (
    EXIT_BROKER_AWAY,
    EXIT_CANCELLED,
    EXIT_INVALID,
    EXIT_JOB_FAILED,
    EXIT_NOT_FOUND,
    EXIT_NOT_NOW,
    EXIT_OK,
    EXIT_TIMED_OUT,
    EXIT_USAGE,
)
from singlepoint.jobs.lifecycle.records import Job, Resources, Sample, Terms, Usage
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.jobs.services import doctor
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

Command = Callable[..., tuple[int, str, str]]

CONNECTING = (connection, doctor)
"""Who knows the way to Redis by a name of its own; loaded here, so that none learns one that a test put there."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeRedis:
    """A Redis that every session of this test finds."""
    server = fakeredis.FakeRedis()
    for module in CONNECTING:
        monkeypatch.setattr(module, "connect", lambda *_broker, **_how: server)
    monkeypatch.setattr(address, "require_listener", lambda _broker: None)
    return server


@pytest.fixture
def command(home: Home, fake: fakeredis.FakeRedis, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = singlepoint.main(["--home", str(home.path), *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def without_redis(home: Home, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = singlepoint.main(["--home", str(home.path), *map(str, arguments)])
        return (code, *capsys.readouterr())

    return run


def ran(store: JobStore, event: Event, job: Job | None = None, **facts: Any) -> Job:
    job = job or accept(store, at=1.0)
    number = job.attempt + 1
    at = 20.0 * number
    store.move(job.id, Event.DISPATCH, at, attempt=number, terms=Terms(Resources()).to_json())
    store.move(job.id, Event.CLAIM, at + 5, attempt=number)
    return store.move(job.id, event, at + 15, attempt=number, **facts)


def test_a_history_that_cannot_be_opened_stops_its_own_job_alone(without_redis: Command, store: JobStore) -> None:
    sound, broken = accept(store), accept(store)
    path = store.home.job(broken.id) / "history.jsonl"
    path.unlink()
    path.mkdir()  # as a bad sector or another's permissions would be: there, and not to be read

    for arguments in (("ps", "-a"), ("report",), ("show", sound.id), ("explain", sound.id)):
        code, out, err = without_redis(*arguments)
        assert code in (EXIT_OK, EXIT_BROKER_AWAY) and "defect" not in err, (arguments, err)
    code, out, err = without_redis("show", broken.id)
    assert (code, out) == (EXIT_INVALID, "")
    assert f"jobs/{broken.id}/history.jsonl: cannot be read" in err and f"rm --force {broken.id}" in err


def test_a_job_that_cannot_be_opened_may_be_deleted(command: Command, store: JobStore) -> None:
    broken = accept(store)
    path = store.home.job(broken.id) / "history.jsonl"
    path.unlink()
    path.mkdir()

    assert command("cancel", broken.id)[0] == EXIT_INVALID
    assert command("rm", "--force", broken.id)[0] == EXIT_OK
    assert store.ids() == []


# ---- ps ----------------------------------------------------------------------------------------------------


def test_ps_lists_what_has_not_ended_and_counts_the_rest_on_stderr(command: Command, store: JobStore) -> None:
    waiting, done = accept(store), ran(store, Event.SUCCEED)

    code, out, err = command("ps")

    assert code == EXIT_OK
    assert waiting.id in out and done.id not in out
    assert err == "1 waiting; `singlepoint ps -a` shows those that have ended, too\n"
    assert done.id in command("ps", "-a")[1]


def test_ps_hides_columns_in_which_no_job_has_anything(command: Command, store: JobStore) -> None:
    accept(store)
    assert "PRIORITY" not in command("ps")[1]

    accept(store, priority=3)
    assert "PRIORITY" in command("ps")[1]


def test_ps_json_is_one_versioned_document_with_the_promised_names(command: Command, store: JobStore) -> None:
    job = accept(store)

    code, out, _ = command("ps", "--json")

    document = json.loads(out)
    assert (code, document["schema"], [row["id"] for row in document["jobs"]]) == (EXIT_OK, 1, [job.id])
    promised = "id name kind state reason priority attempt submitted_at started_at ended_at progress cpu memory_bytes"
    assert set(promised.split()) <= set(document["jobs"][0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", document["jobs"][0]["submitted_at"])


@pytest.mark.parametrize("words", ["ps -a", "show {id}", "wait {id}"])
def test_what_nobody_can_foresee_is_null_and_not_left_out(command: Command, store: JobStore, words: str) -> None:
    ended = ran(store, Event.FAIL, reason="so it was")
    document = json.loads(command(*words.format(id=ended.id).split(), "--json")[1])
    row = document["jobs"][0] if "jobs" in document else document
    assert (row["eta"], row["deadline_probability"], row["progress"]) == (None, None, None)


def test_colour_is_for_terminals_and_never_with_no_color(
    command: Command, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(store, Event.SUCCEED)
    assert "\x1b" not in command("ps", "-a")[1]

    monkeypatch.setattr("click._compat.isatty", lambda _stream: True)
    assert "\x1b[32msucceeded" in command("ps", "-a")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in command("ps", "-a")[1]


# ---- show --------------------------------------------------------------------------------------------------


def test_show_tells_every_attempt_with_its_end_its_steps_and_what_it_cost(command: Command, store: JobStore) -> None:
    usage = Usage(wall_s=10.0, peak_memory_bytes=2**27).to_json()
    killed = ran(store, Event.LOSE, end="killed", cause="killed by SIGKILL", steps=40, lost_s=0.5, usage=usage)
    result = {"path": "/models/job/1", "sha256": "abc"}
    ran(store, Event.SUCCEED, killed, end="succeeded", steps=60, result=result, metrics={"accuracy": 0.975})

    code, out, _ = command("show", killed.id)

    assert code == EXIT_OK
    ledger = [line for line in out.splitlines() if line.startswith(("1 ", "2 "))]
    assert re.search(r"10 s +killed +40 +0\.5 s +after 10 s +128 MiB +killed by SIGKILL", ledger[0])
    assert "succeeded" in ledger[1] and "60" in ledger[1]
    assert "/models/job/1" in out and "0.975" in out


def test_show_json_has_the_ledger_the_result_and_the_history(command: Command, store: JobStore) -> None:
    killed = ran(store, Event.LOSE, end="killed", steps=40, lost_s=0.5)
    job = ran(store, Event.SUCCEED, killed, end="succeeded", bit_identical=True)

    document = json.loads(command("show", "last", "--json")[1])

    assert (document["id"], document["schema"], document["bit_identical"]) == (job.id, 1, True)
    assert [attempt["end"] for attempt in document["attempts"]] == ["killed", "succeeded"]
    assert document["attempts"][0]["lost_s"] == 0.5 and document["attempts"][0]["recovery_s"] == 10.0
    assert [line["event"] for line in document["history"]][:2] == ["accept", "dispatch"]


def test_show_tells_how_far_a_running_job_is(command: Command, store: JobStore, home: Home) -> None:
    job = accept(store)
    store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=Terms(Resources()).to_json())
    store.move(job.id, Event.CLAIM, 3.0, attempt=1)
    (home.job(job.id) / "progress.json").write_text('{"progress": 0.25, "step": 5, "total": 20}')

    assert "25%, step 5 of 20" in command("show", job.id)[1]
    assert json.loads(command("show", job.id, "--json")[1])["progress"] == 0.25
    (home.job(job.id) / "progress.json").write_text('{"progress": 0.25, "step": 5, "total": 20, "loss": 0.123456}')
    assert "step 5 of 20, loss 0.123456" in command("show", job.id)[1]
    (home.job(job.id) / "progress.json").write_text('{"progress": 0, "step": 5, "total": 0}')
    assert "progress   step 5\n" in command("show", job.id)[1], "nobody told of how many"
    sample = Sample(1, at=2.5).to_json()
    (home.job(job.id) / "progress.json").write_text(json.dumps({"progress": 0.25, "sample": sample}))
    assert json.loads(command("show", job.id, "--json")[1])["sample"]["at"] == "1970-01-01T00:00:02.500000Z"


# ---- logs and wait -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code"),
    [(Event.SUCCEED, EXIT_OK), (Event.FAIL, EXIT_JOB_FAILED), (Event.CANCEL, EXIT_CANCELLED)],
)
def test_following_a_log_ends_with_the_jobs_own_code(
    command: Command, store: JobStore, home: Home, event: Event, code: int
) -> None:
    job = ran(store, event, reason="so it was")
    (home.job(job.id) / "log.txt").write_text("attempt_began attempt=1\n")

    found, out, err = command("logs", "-f", job.id)

    assert (found, out) == (code, "attempt_began attempt=1\n")
    assert "so it was" in err


def test_a_log_can_be_read_by_programs_and_may_be_empty(command: Command, store: JobStore, home: Home) -> None:
    job = accept(store)
    assert command("logs", job.id)[1] == ""

    (home.job(job.id) / "log.txt").write_text("one\ntwo\n")
    assert json.loads(command("logs", job.id, "--json")[1])["lines"] == ["one", "two"]


def test_wait_tells_success_failure_and_lack_of_time_apart(command: Command, store: JobStore) -> None:
    good, bad, waiting = ran(store, Event.SUCCEED), ran(store, Event.CANCEL), accept(store)

    assert command("wait", good.id)[0] == EXIT_OK
    assert command("wait", good.id, bad.id)[0] == EXIT_JOB_FAILED
    code, out, _ = command("wait", good.id, waiting.id, "--timeout", "0", "--json")
    assert (code, [row["progress"] for row in json.loads(out)["jobs"]]) == (EXIT_TIMED_OUT, [1.0, 0.0])


@pytest.mark.parametrize("arguments", [("wait",), ("logs", "-f")])
def test_ctrl_c_detaches_and_leaves_the_job_alone(
    command: Command, store: JobStore, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    def interrupted(_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    job = accept(store)

    code, _, err = command(*arguments, job.id)

    assert (code, store.load(job.id)) == (EXIT_NOT_NOW, job)
    assert f"singlepoint wait {job.id}" in err


# ---- asking something of a job -----------------------------------------------------------------------------


def test_several_jobs_are_cancelled_though_one_cannot_be(command: Command, store: JobStore) -> None:
    first, done, last = accept(store), ran(store, Event.SUCCEED), accept(store)

    code, out, err = command("cancel", first.id, done.id, last.id)

    assert code == EXIT_NOT_NOW
    assert [store.load(job.id).state for job in (first, last)] == [State.CANCELLED] * 2
    assert out.splitlines() == [f"{first.id} cancelled", f"{last.id} cancelled"]
    assert done.id in err and "singlepoint show" in err


def test_pause_resume_retry_and_priority_do_what_they_say(command: Command, store: JobStore) -> None:
    job = accept(store)

    assert command("pause", job.id)[1] == f"{job.id} held back\n" and store.load(job.id).held
    assert command("resume", job.id)[0] == EXIT_OK and not store.load(job.id).held
    assert command("resume", job.id)[0] == EXIT_NOT_NOW
    assert command("priority", job.id, "-5")[0] == EXIT_OK and store.load(job.id).priority == -5
    assert command("cancel", job.id)[0] == EXIT_OK
    assert command("retry", "--fresh", job.id)[0] == EXIT_OK and store.load(job.id).state is State.PENDING


def test_rm_says_where_the_model_stays_and_force_cancels_first(command: Command, store: JobStore) -> None:
    done = ran(store, Event.SUCCEED, result={"path": "/models/job/1"})
    waiting = accept(store)

    code, _, err = command("rm", done.id)
    assert (code, "/models/job/1" in err) == (EXIT_OK, True)
    assert command("rm", waiting.id)[0] == EXIT_NOT_NOW
    assert command("rm", "--force", waiting.id)[0] == EXIT_OK
    assert store.ids() == []


def test_rm_keeps_a_job_that_another_waits_for(command: Command, store: JobStore) -> None:
    done = ran(store, Event.SUCCEED)
    accept(store, after=[done.id])

    assert command("rm", done.id)[0] == EXIT_NOT_NOW
    assert done.id in store.ids()


def test_prune_removes_the_old_and_a_dry_run_only_says_so(command: Command, store: JobStore) -> None:
    old, waiting = ran(store, Event.SUCCEED), accept(store)

    assert command("prune", "--dry-run")[1] == f"{old.id}\n" and old.id in store.ids()
    assert command("prune", "--keep", "1")[1] == ""
    assert command("prune")[1] == f"{old.id}\n"
    assert store.ids() == [waiting.id]


# ---- mistakes, and Redis away ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["show", "logs", "wait", "cancel", "pause", "resume", "retry", "rm", "priority 3"])
def test_a_job_that_is_not_there_is_not_found_by_any_command(command: Command, words: str) -> None:
    name, *more = words.split()

    code, out, err = command(name, "nobody", *more)

    assert (code, out) == (EXIT_NOT_FOUND, "")
    assert "nobody" in err and "hint" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "words", ["ps --watch --json", "wait last --timeout soon", "prune --older-than never", "priority last much", "show"]
)
def test_a_command_that_is_called_wrongly_says_how_to_call_it(command: Command, store: JobStore, words: str) -> None:
    accept(store)

    assert command(*words.split())[0] == EXIT_USAGE


@pytest.mark.parametrize("words", ["ps", "show last", "logs last", "ps --json", "show last --json"])
def test_reading_goes_on_without_redis_and_says_that_it_is_away(
    without_redis: Command, store: JobStore, home: Home, words: str
) -> None:
    job = accept(store)
    (home.job(job.id) / "log.txt").write_text(f"{job.id} began\n")

    code, out, err = without_redis(*words.split())

    assert code == EXIT_BROKER_AWAY
    assert job.id in out and "Redis does not answer" in err and "up --detach" in err


@pytest.mark.parametrize(
    "words", ["cancel", "pause", "resume", "retry", "priority 3", "rm", "rm --force", "wait", "logs -f"]
)
def test_writing_and_waiting_without_redis_do_nothing(without_redis: Command, store: JobStore, words: str) -> None:
    job = accept(store)
    name, *more = words.split()

    code, out, err = without_redis(name, job.id, *more)

    assert (code, out, store.load(job.id)) == (EXIT_BROKER_AWAY, "", job)
    assert "Redis does not answer" in err


def test_redis_that_dies_in_the_middle_of_a_command_is_told_plainly(
    command: Command, store: JobStore, fake: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object, **_more: object) -> bool:
        if arguments == ("PING",):
            return True  # it dies right after
        raise redis.ConnectionError("connection lost")

    job = accept(store)
    monkeypatch.setattr(fake, "execute_command", gone)
    monkeypatch.setattr(fake, "pipeline", gone)

    assert command("ps")[0] == EXIT_BROKER_AWAY
    assert command("cancel", job.id)[0] == EXIT_OK, "the history has it; Redis learns of it when it returns"
    assert store.load(job.id).state is State.CANCELLED


def test_an_ask_reaches_the_history_of_a_running_job(command: Command, store: JobStore, tmp_path: Path) -> None:
    job = accept(store)
    store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=Terms(Resources()).to_json())
    store.move(job.id, Event.CLAIM, 3.0, attempt=1)

    assert command("cancel", job.id)[1] == f"{job.id} asked to stop\n"
    assert Ask.CANCEL in store.load(job.id).asks


# --- filters, and many jobs at once ---------------------------------------------------------------------------


def listed(command: Command, *words: str) -> list[str]:
    return [row["id"] for row in json.loads(command("ps", "--json", *words)[1])["jobs"]]


def test_ps_is_newest_first_and_shows_what_was_asked_for(command: Command, store: JobStore) -> None:
    old, middle, new = (
        accept(store, at=float(n), name=f"wdbc-{n}", project="a" if n else "", priority=n).id for n in range(3)
    )
    store.move(middle, Event.CANCEL, 5.0, end="cancelled", reason="r")

    assert listed(command) == [new, old] and listed(command, "-a") == [new, middle, old]
    assert listed(command, "--status", "cancelled") == listed(command, "--status", "ended") == [middle]
    assert listed(command, "--status", "waiting,cancelled") == [new, middle, old]
    assert listed(command, "-a", "--name", "wdbc-[12]") == [new, middle]
    assert listed(command, "-a", "--project", "a", "--limit", "1") == [new]
    assert listed(command, "-a", "--sort", "priority") == [old, middle, new]
    assert listed(command, "-a", "--sort", "-priority", "--limit", "2") == [new, middle]
    _, out, err = command("ps", "-a", "--limit", "1")
    assert new in out and "2 waiting, 1 cancelled; 1 of 3 jobs shown, --limit N shows more" in err
    assert command("ps", "--status", "bad")[0] == EXIT_USAGE and command("ps", "--sort", "colour")[0] == EXIT_USAGE


def test_a_job_whose_end_is_not_noted_yet_is_listed_all_the_same(command: Command, store: JobStore) -> None:
    job = ran(store, Event.SUCCEED)
    store.ledger.path.unlink()

    assert listed(command, "-a") == listed(command, "--status", "succeeded") == [job.id]


def test_a_verb_takes_all_of_a_name_or_a_status_with_which_it_can_do_something(
    command: Command, store: JobStore
) -> None:
    one, other = accept(store, name="a-1"), accept(store, name="a-2")
    failed, done = ran(store, Event.FAIL), ran(store, Event.SUCCEED)

    assert command("cancel", "--name", "a-*", "--dry-run")[1].split() == [one.id, other.id]
    assert command("cancel", "--name", "a-1")[1] == f"{one.id} cancelled\n"
    assert set(command("retry", "--all")[1].split("\n")) == {f"{one.id} pending", f"{failed.id} pending", ""}
    assert command("pause", "--status", "pending", "--name", "a-2")[1] == f"{other.id} held back\n"
    assert command("resume", "--all")[1] == f"{other.id} goes on when there is room\n"
    assert command("rm", "--status", "succeeded")[1] == f"{done.id} removed\n"
    assert command("rm", "--all")[:2] == (EXIT_OK, "") and len(store.ids()) == 3
    assert command("cancel")[0] == command("cancel", one.id, "--all")[0] == EXIT_USAGE


def test_the_last_column_is_cut_to_the_terminal_and_to_nothing_else() -> None:
    rows = [{"id": "abc", "reason": "x" * 50}]
    assert table(rows, ("id", "reason"), 20).splitlines()[1] == "abc  " + "x" * 14 + "…"
    assert table(rows, ("id", "reason")).splitlines()[1] == "abc  " + "x" * 50
