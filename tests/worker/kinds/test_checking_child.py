"""What a check in a child finds is what it finds here; and a child that dies, stands still or is forked costs a warning
at most."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.errors import InvalidInput, NotFound
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.job import Spec
from singlepoint.worker.kinds import checking_child
from singlepoint.worker.kinds.checking_child import CheckingChild
from singlepoint.worker.kinds.table import check
from tests.worker.making import TRAINING


@pytest.fixture
def asked() -> Iterator[CheckingChild]:
    child = CheckingChild()
    yield child
    child.close()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    content = resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_bytes()
    (tmp_path / "wdbc.csv").write_bytes(content)
    return tmp_path


def training(directory: Path, **changes: Any) -> Spec:
    return parse_document({**TRAINING, **changes}, directory, "spec")


def pid(asked: CheckingChild) -> int:
    assert asked._child is not None
    return asked._child.pid


def test_it_finds_what_is_found_here_and_is_the_same_child_the_next_time(asked: CheckingChild, table: Path) -> None:
    sound = training(table)
    first = asked.check(sound)
    assert first == check(sound)
    first_pid = pid(asked)

    bad = training(table, data={"path": "wdbc.csv", "target": "diagnose"})
    with pytest.raises(InvalidInput) as here:
        check(bad)
    with pytest.raises(InvalidInput) as there:
        asked.check(bad)
    assert (there.value.problems, str(there.value)) == (here.value.problems, str(here.value))
    with pytest.raises(NotFound):
        asked.check(training(table, data={"path": "gone.csv", "target": "x"}))
    assert pid(asked) == first_pid


def test_a_child_that_ended_between_two_checks_is_replaced(asked: CheckingChild, table: Path) -> None:
    sound = training(table)
    expected = asked.check(sound)
    before = pid(asked)
    os.kill(before, signal.SIGKILL)
    assert asked.check(sound) == expected
    assert pid(asked) != before


def test_one_that_stands_still_amid_a_check_leaves_the_data_unchecked_and_says_so(table: Path) -> None:
    asked = CheckingChild(seconds=30.0)
    expected = asked.check(training(table))
    os.kill(pid(asked), signal.SIGSTOP)
    asked._seconds = 0.1
    checked = asked.check(training(table))
    assert checked is not None and ["takes longer than it may" in line for line in checked.warnings] == [True]

    asked._seconds = 30.0
    assert asked.check(training(table)) == expected
    asked.close()


def test_a_check_that_ends_its_process_each_time_is_given_up(
    asked: CheckingChild, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking_child, "_PROGRAM", "import os; os.abort()")
    checked = asked.check(training(table))
    assert checked is not None and ["ends the process that does" in line for line in checked.warnings] == [True]


def test_one_that_is_interrupted_gives_its_answer_to_nobody_else(asked: CheckingChild, table: Path) -> None:
    """As by Ctrl-C, or by the alarm of a test that takes too long."""
    other = training(table, name="other")
    expected = asked.check(other)

    class Interrupted(BaseException):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    os.kill(pid(asked), signal.SIGSTOP)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(Interrupted):
        asked.check(training(table, name="interrupted"))
    signal.signal(signal.SIGALRM, before)
    assert asked.check(other) == expected


def test_a_spec_larger_than_a_pipe_is_given_up_too_when_nobody_reads_it(asked: CheckingChild, table: Path) -> None:
    asked.check(training(table))
    os.kill(pid(asked), signal.SIGSTOP)
    asked._seconds = 0.1
    columns = [f"column{number:0>90}" for number in range(3000)]
    large = training(table, data={"path": "wdbc.csv", "target": "diagnosis", "ignore": columns})
    checked = asked.check(large)
    assert checked is not None and len(checked.warnings) == 1


def test_a_fork_amid_a_check_waits_for_nobody(asked: CheckingChild, table: Path) -> None:
    with asked._one_at_a_time:
        forked = os.fork()
        if not forked:
            signal.alarm(60)
            os._exit(0 if asked.check(training(table)) is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0


def test_a_fork_of_this_process_has_a_child_of_its_own(asked: CheckingChild, table: Path) -> None:
    sound = training(table)
    expected, before = asked.check(sound), pid(asked)
    forked = os.fork()
    if not forked:
        is_own = asked.check(sound) == expected and pid(asked) != before
        asked.close()
        os._exit(0 if is_own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    assert asked.check(sound) == expected and pid(asked) == before
