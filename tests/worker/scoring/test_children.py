"""Several processes score as one would: in order, with its errors; and none outlives or outwaits the other."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.worker.data.formats import Piece
from singlepoint.worker.ground.process import die_with
from singlepoint.worker.scoring.children import PIECES_PER_CHILD, ChildDied, Children, die_alike
from tests.conftest import LONGEST_S

GIB = 2**30


def terms(children: int) -> Terms:
    cores = sorted(os.sched_getaffinity(0))
    return Terms(Resources(), cores=tuple(cores[i % len(cores)] for i in range(children)))


def numbered(count: int) -> Iterator[Piece]:
    for number in range(count):
        yield Piece(number, 1, {"row": number + 1}, bytes(100_000 * (number % 3)) + b"%d" % number)


def doubled(piece: Piece) -> bytes:
    return bytes(piece.content) + b"|" + bytes(piece.content)


@pytest.mark.parametrize("count", [0, 1, 3, 40])
@pytest.mark.parametrize("children", [1, 2, 3])
def test_answers_come_in_order_and_whole(children: int, count: int) -> None:
    with Children(doubled, terms(children)) as pool:
        answers = list(pool.map(numbered(count)))
    assert [(piece, answer) for piece, answer in answers] == [(piece, doubled(piece)) for piece in numbered(count)]


def test_a_slow_child_does_not_let_the_others_run_far_ahead() -> None:
    bound = 2 * PIECES_PER_CHILD
    hold, release = os.pipe()
    taken: list[int] = []

    def score(piece: Piece) -> bytes:
        if piece.first_row == bound - 1:
            os.write(release, b"!")
        return os.read(hold, 1) if piece.first_row == 0 else b"."

    def pieces() -> Iterator[Piece]:
        for piece in numbered(100):
            taken.append(piece.first_row)
            yield piece

    with Children(score, terms(2)) as pool:
        first, answer = next(pool.map(pieces()))
    assert (first.first_row, answer) == (0, b"!") and len(taken) == bound
    os.close(hold)
    os.close(release)


def test_what_a_child_cannot_do_is_tried_by_the_parent_whose_error_it_is() -> None:
    parent = os.getpid()

    def score(piece: Piece) -> bytes:
        if piece.first_row in (3, 5):
            if os.getpid() != parent:
                raise MemoryError
            if piece.first_row == 5:
                raise ValueError("row 5 as one process sees it")
        return b"%d" % piece.first_row

    seen = []
    with Children(score, terms(2)) as pool, pytest.raises(ValueError, match="row 5 as one process sees it"):
        for _, answer in pool.map(numbered(20)):
            seen.append(answer)
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


def test_trouble_with_the_input_is_told_after_all_rows_before_it() -> None:
    def pieces() -> Iterator[Piece]:
        yield from numbered(5)
        raise OSError("the disk is gone")

    seen = []
    with Children(doubled, terms(2)) as pool, pytest.raises(OSError, match="the disk is gone"):
        for piece, _ in pool.map(pieces()):
            seen.append(piece.first_row)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
@pytest.mark.parametrize("at_work", [True, False])
def test_a_child_that_is_killed_is_noticed_at_once(number: signal.Signals, at_work: bool) -> None:
    def score(piece: Piece) -> bytes:
        if at_work and piece.first_row == 4:
            os.kill(os.getpid(), number)
        return b"."

    def pieces() -> Iterator[Piece]:
        for piece in numbered(50):
            if not at_work and piece.first_row == 4:
                child = psutil.Process(pool.pids[0])
                child.send_signal(number)
                deadline = time.monotonic() + LONGEST_S
                while child.status() != psutil.STATUS_ZOMBIE:
                    assert time.monotonic() < deadline
            yield piece

    with pytest.raises(ChildDied) as caught, Children(score, terms(2)) as pool:
        began = pool.pids
        list(pool.map(pieces()))
    assert os.WTERMSIG(caught.value.status) == number
    assert not {child.pid for child in psutil.Process().children()}.intersection(began)


def test_a_child_that_is_killed_in_the_middle_of_its_answer_is_noticed_as_well() -> None:
    def pieces() -> Iterator[Piece]:
        for piece in numbered(2):
            if piece.first_row:
                assert pool._children[0].connection.poll(60)  # it answers, with more than the pipe holds
                os.kill(pool.pids[0], signal.SIGKILL)
            yield piece

    with pytest.raises(ChildDied) as caught, Children(lambda piece: bytes(2**24), terms(2)) as pool:
        list(pool.map(pieces()))
    assert os.WTERMSIG(caught.value.status) == signal.SIGKILL


def test_an_attempt_dies_the_death_of_its_child() -> None:
    for status, expected in ((signal.SIGKILL, signal.SIGKILL), (signal.SIGSEGV, signal.SIGSEGV)):
        pid = os.fork()
        if not pid:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            try:
                die_alike(ChildDied(1, status))
            finally:
                os._exit(0)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == expected
    with pytest.raises(RuntimeError, match="process 1 of the attempt ended with 3"):
        die_alike(ChildDied(1, 3 << 8))


def test_children_die_with_their_parent() -> None:
    """Also those that are in the middle of a piece; the pipe's end is only theirs to close."""
    alive, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        die_with(os.getppid())
        with Children(lambda piece: signal.pause(), terms(3)) as pool:  # type: ignore[arg-type,return-value]
            os.write(theirs, b"up")
            list(pool.map(numbered(2)))
        os._exit(0)
    os.close(theirs)
    assert os.read(alive, 2) == b"up"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert os.read(alive, 1) == b"", "somebody lives on"  # ends only once all copies of the other end are closed
    os.close(alive)


def test_children_keep_to_a_core_each_share_the_memory_and_leave_stopping_to_the_attempt() -> None:
    def score(piece: Piece) -> bytes:
        os.kill(os.getpid(), signal.SIGTERM)
        return json.dumps([*os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA)[0]]).encode()

    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        return
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (8 * GIB, 16 * GIB))
        granted = terms(2)
        with Children(score, granted) as pool:
            told = [json.loads(answer) for _, answer in pool.map(numbered(2))]
        assert [core for core, _ in told] == list(granted.cores)
        assert all(limit < 8 * GIB for _, limit in told) and sum(limit for _, limit in told) < 12 * GIB
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == 8 * GIB
        status = 0
    finally:
        os._exit(status)
