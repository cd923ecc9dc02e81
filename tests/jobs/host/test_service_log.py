"""What the services write: one line an event, with its own time, also of events that are written together."""

from __future__ import annotations

import asyncio
import io
import logging
from itertools import chain, repeat

import pytest

from singlepoint.jobs.host import service_log
from singlepoint.jobs.host.service_log import FORMAT, Often, UtcFormatter


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(written: io.StringIO) -> logging.Logger:
    handler = logging.StreamHandler(written)
    handler.setFormatter(UtcFormatter(FORMAT))
    log = logging.Logger("singlepoint.test", logging.INFO)
    log.addHandler(handler)
    return log


def test_events_that_are_written_together_are_a_line_each_with_its_own_time(
    log: logging.Logger, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = chain([1_000_000_000.25, 1_000_000_001.5], repeat(0.0))
    monkeypatch.setattr(service_log.time, "time", lambda: next(times))

    async def two() -> str:
        often = Often(log)
        often.note("request id=1")
        often.note("request id=2")
        before = written.getvalue()
        await asyncio.sleep(2 * often.LATER_S)
        return before

    monkeypatch.setattr(Often, "LATER_S", 0.0)
    assert asyncio.run(two()) == ""
    assert written.getvalue().splitlines() == [
        "2001-09-09T01:46:40.250Z singlepoint.test request id=1",
        "2001-09-09T01:46:41.500Z singlepoint.test request id=2",
    ]


def test_each_event_is_written_once(log: logging.Logger, written: io.StringIO) -> None:
    async def noted() -> None:
        often = Often(log)
        often.note("first")
        often.write()
        often.write()
        often.note("second")
        often.write()

    asyncio.run(noted())
    assert [line.split()[-1] for line in written.getvalue().splitlines()] == ["first", "second"]


def test_nobody_waits_for_more_than_so_many_to_be_written(
    log: logging.Logger, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Often, "MOST", 3)

    async def noted() -> list[int]:
        often, lines = Often(log), list[int]()
        for number in range(7):
            often.note(number)
            lines.append(len(written.getvalue().splitlines()))
        return lines

    assert asyncio.run(noted()) == [0, 0, 3, 3, 3, 6, 6]


def test_an_event_of_its_own_is_a_line_as_ever(log: logging.Logger, written: io.StringIO) -> None:
    log.info("started pid=%d", 7)
    time, name, *message = written.getvalue().split()
    assert (len(time), time[-1], name, message) == (24, "Z", "singlepoint.test", ["started", "pid=7"])
