"""`up` and `down` from the inside: one supervisor a home, set free of its terminal, ended on request."""

from __future__ import annotations

import os
import plistlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.broker import embedded
from singlepoint.jobs.errors import EXIT_NOT_NOW, BrokerAway, NotNow
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.host.singleton import acquire, holder
from singlepoint.jobs.services.live import Services
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.worker.supervision import starting, unit_files
from tests.conftest import LONGEST_S

ROOT = Path(__file__).parents[3]

KEEP_BROKER = """
import sys
from singlepoint.jobs.store.home import open_home
from singlepoint.worker.supervision.starting import keep_alive
from singlepoint.worker.supervision.supervisor import Child
home = open_home(sys.argv[1])
sys.exit(keep_alive(home, [Child("broker", (sys.executable, "-m", "singlepoint", "--home", sys.argv[1], "broker"))]))
"""


def wait_until(condition: Callable[[], object], limit_s: float = LONGEST_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s} s in vain"
        time.sleep(0.005)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.delenv("SINGLEPOINT_REDIS_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    yield open_home(path)
    shutil.rmtree(path)


@pytest.fixture
def supervisor(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor that keeps the home's Redis alive."""
    with (home.path / "test.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", KEEP_BROKER, str(home.path)], stderr=log)
    wait_until(lambda: embedded.answers(home))
    yield process
    process.kill()
    process.wait()


def end_of(detached: starting.Detached) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(detached.pid, 0)[1])


def sleep() -> int:
    os.execlp("sleep", "sleep", "60")


def waits() -> int:
    """Without another program, whose start would close what was kept open."""
    signal.pause()
    return 0


def singlepoint(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "singlepoint", "--home", str(home.path), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_home_has_one_supervisor_and_the_second_names_it(home: Home, supervisor: subprocess.Popen[bytes]) -> None:
    with pytest.raises(NotNow, match=f"process {supervisor.pid}"):
        starting.keep_alive(home, [])


@pytest.mark.parametrize("how", ["--drain", "--now"])
def test_down_ends_the_supervisor_and_all_below_it(home: Home, supervisor: subprocess.Popen[bytes], how: str) -> None:
    done = singlepoint(home, "down", how)

    assert (done.returncode, done.stdout) == (0, "")
    assert "singlepoint is down" in done.stderr
    assert supervisor.wait(timeout=LONGEST_S) == 0
    assert not embedded.answers(home)
    os.close(acquire(home.lock("broker")))


def test_down_again_says_that_nothing_was_running_and_is_no_error(home: Home) -> None:
    done = singlepoint(home, "down")

    assert done.returncode == 0
    assert "nothing was running" in done.stderr


def test_down_stops_a_redis_whose_supervisor_is_gone(home: Home) -> None:
    orphan = subprocess.Popen([sys.executable, "-m", "singlepoint", "--home", str(home.path), "broker"])
    try:
        wait_until(lambda: embedded.answers(home))

        assert singlepoint(home, "down").returncode == 0
        assert orphan.wait(timeout=LONGEST_S) == 0
    finally:
        orphan.kill()
        orphan.wait()


def test_down_now_ends_a_supervisor_that_is_stopped(
    home: Home, supervisor: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from singlepoint.jobs.commands import down

    monkeypatch.setattr(down, "PATIENCE_NOW_S", 0.1)
    supervisor.send_signal(signal.SIGSTOP)
    found = holder(home.lock("supervisor"))
    assert found is not None

    down._end_supervisor(found, now=True)

    assert supervisor.wait(timeout=LONGEST_S) == -signal.SIGKILL


def test_a_killed_redis_is_back_at_once_with_what_it_knew(home: Home, supervisor: subprocess.Popen[bytes]) -> None:
    from singlepoint.jobs.broker.address import locate
    from singlepoint.jobs.broker.connection import connect

    first = embedded.server_process(home)
    assert first is not None
    connect(locate(home)).set("kept", "yes")

    os.kill(first.pid, signal.SIGKILL)

    wait_until(lambda: (next_one := embedded.server_process(home)) and next_one.pid != first.pid)
    wait_until(lambda: embedded.answers(home))
    assert connect(locate(home)).get("kept") == b"yes"


def test_a_detached_start_that_fails_gives_the_reason_the_end_of_the_log_and_the_code(home: Home) -> None:
    def fails() -> int:
        os.write(2, b"a line\nbudget: what is a flurb?\n")
        return 1

    detached = starting.detach(home, fails)

    with pytest.raises(BrokerAway) as caught:
        starting.await_ready(detached, Services, workers=1)

    assert "it ended with exit code 1\n  a line\n  budget: what is a flurb?" in caught.value.message
    assert str(home.path / "up.log") in str(caught.value.hint)


def test_a_detached_process_that_breaks_says_so_in_the_log_and_never_comes_back_to_its_caller(home: Home) -> None:
    def breaks() -> int:
        raise RuntimeError("no such luck")

    def refuses() -> int:
        raise NotNow("not today", hint="try tomorrow")

    assert end_of(starting.detach(home, breaks)) == 1
    assert end_of(starting.detach(home, refuses)) == EXIT_NOT_NOW
    log = starting.log_path(home).read_text()
    assert "RuntimeError: no such luck\n" in log and "singlepoint: not today\n  hint: try tomorrow\n" in log


def test_a_detached_process_keeps_nothing_that_its_caller_had_open_and_is_of_no_terminal(home: Home) -> None:
    reading, writing = os.pipe()
    detached = starting.detach(home, waits)
    os.close(writing)
    try:
        assert select.select([reading], [], [], LONGEST_S)[0] and os.read(reading, 1) == b"", "nobody writes there now"
        assert os.getsid(detached.pid) == detached.pid
    finally:
        os.close(reading)
        os.kill(detached.pid, signal.SIGKILL)
        end_of(detached)


def test_a_detached_process_writes_its_log_wherever_a_shell_closed_what_it_was_given(home: Home) -> None:
    program = (
        "import os, sys; from singlepoint.jobs.store.home import open_home;"
        "from singlepoint.worker.supervision import starting;"
        "one = starting.detach(open_home(sys.argv[1]), lambda: print('from within', file=sys.stderr) or 7);"
        "os._exit(os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]))"
    )
    for closed in ("<&-", ">&-", "<&- >&- 2>&-"):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program, str(home.path)]
        assert subprocess.run(command, check=False).returncode == 7
    assert starting.log_path(home).read_text() == 3 * "from within\n"


def test_who_loses_a_race_to_start_says_that_it_is_up_and_prints_no_log_of_the_winners(
    home: Home,
    supervisor: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = iter([None])  # at the first look there was no supervisor yet
    monkeypatch.setattr(starting, "holder", lambda path: next(seen, holder(path)))

    assert starting.up_detached(home, None, lambda: starting.keep_alive(home, []), workers=1) == 0

    assert capsys.readouterr().err == f"singlepoint is up already: process {supervisor.pid}\n"


def test_the_log_of_a_long_life_is_cut_and_one_older_part_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "LOG_BYTES", 10)
    log = home.path / "up.log"
    with log.open("a") as writer:
        for line in ("the first long line\n", "the second long line\n", "short\n"):
            writer.write(line)
            writer.flush()
            starting.keep_log_small(log)

    assert log.read_text() == "short\n"
    assert log.with_suffix(".log.old").read_text() == "the second long line\n"


def test_a_detached_start_says_what_it_still_waits_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "READY_S", 0.1)
    detached = starting.detach(home, sleep)

    with pytest.raises(BrokerAway, match="0 of 2 workers have registered"):
        starting.await_ready(detached, lambda: Services(None, True, this_process(), ()), workers=2)

    assert end_of(detached) == -signal.SIGTERM


def test_a_detached_start_is_ready_when_redis_scheduler_and_workers_are(home: Home) -> None:
    seen = iter([Services(), Services(None, True), Services(None, True, this_process(), ("w",))])
    detached = starting.detach(home, sleep)

    assert starting.await_ready(detached, lambda: next(seen), workers=1).workers == ("w",)

    os.kill(detached.pid, signal.SIGKILL)
    end_of(detached)


def test_a_detached_start_with_a_page_is_ready_once_that_answers(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    detached = starting.detach(home, sleep)
    answers = iter([False, False, True])
    ready = Services(None, True, this_process(), ("w",))
    assert starting.await_ready(detached, lambda: ready, 1, lambda: next(answers)) == ready
    assert list(answers) == []

    monkeypatch.setattr(starting, "READY_S", 0.1)
    with pytest.raises(BrokerAway, match="the page does not answer"):
        starting.await_ready(detached, lambda: ready, 1, lambda: False)
    assert end_of(detached) == -signal.SIGTERM


def test_the_systemd_unit_runs_exactly_this_command(home: Home) -> None:
    argv = ("/opt/a python", "-m", "singlepoint", "--home", "/home/me/100%/$x", "up")
    text = unit_files.systemd_unit(argv, {"SINGLEPOINT_REDIS_URL": "redis://:a%20$b@h/0"})

    assert 'ExecStart="/opt/a python" -m singlepoint --home "/home/me/100%%/$$x" up\n' in text
    assert 'Environment="SINGLEPOINT_REDIS_URL=redis://:a%%20$b@h/0"\n' in text
    assert "KillMode=mixed" in text


def test_the_launchd_agent_runs_exactly_this_command(home: Home) -> None:
    argv = ("/opt/a python", "-m", "singlepoint", "up")
    agent = plistlib.loads(unit_files.launchd_plist(argv, {"A": "<b>"}, Path("/tmp/up.log")).encode())

    assert agent["ProgramArguments"] == list(argv)
    assert agent["EnvironmentVariables"] == {"A": "<b>"}
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


def test_printing_the_unit_starts_nothing(home: Home) -> None:
    done = singlepoint(home, "up", "--print-unit", "--workers", "1")

    assert done.returncode == 0
    assert str(home.path) in done.stdout
    assert holder(home.lock("supervisor")) is None


def test_a_unit_never_holds_a_password_but_says_where_it_belongs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    text = unit_files.unit(home, ("singlepoint", "up"), {"SINGLEPOINT_REDIS_URL": "redis://host?password=hunter2"})
    assert "hunter2" not in text and "holds a password" in text
    assert "redis://host" in unit_files.unit(home, ("singlepoint", "up"), {"SINGLEPOINT_REDIS_URL": "redis://host"})
