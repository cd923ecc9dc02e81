"""A job cannot take more than it was granted, with real programs that try: memory in every way, cores, disk."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.worker.attempt.job_lock import held_lock
from singlepoint.worker.ground import tree
from singlepoint.worker.kinds import run
from singlepoint.worker.pool.orphans import end_orphans
from singlepoint.worker.pool.watch import Watch
from singlepoint.worker.programs import memory_group
from tests.system.machine import wait_until
from tests.worker.making import Maker, ends, stopped

MIB = 2**20

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

GROUPS: Any = memory_group.place()
needs_groups = pytest.mark.skipif(GROUPS is None, reason="this machine lets us make no control group")

TOUCH = "bytearray(b'x') * (128 << 20)"
"""Twice what is granted below, touched to the last byte."""

WAYS = {
    "alone": f"import time; kept = {TOUCH}; time.sleep(600)",
    "by fork": """
import os, time
for _ in range(4):
    if os.fork() == 0:
        kept = bytearray(b"x") * (32 << 20)
        time.sleep(600)
time.sleep(600)
""",
    "by mmap": """
import mmap, time
kept = mmap.mmap(-1, 128 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(kept), 4096): kept[at] = 1
time.sleep(600)
""",
    "by shared memory": """
import mmap, os, time
kept = mmap.mmap(-1, 128 << 20)
for at in range(0, len(kept), 4096): kept[at] = 1
time.sleep(600)
""",
    "after setsid": f"""
import os, time
if os.fork(): time.sleep(600)
os.setsid()
if os.fork(): os._exit(0)
open("detached", "w").write(str(os.getpid()))
kept = {TOUCH}
time.sleep(600)
""",
}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the memory, so that it is the kernel that holds it."""
    monkeypatch.setattr(Watch, "_too_much_memory", lambda *_: None)


def program(maker: Maker, code: str, memory: str = "64MiB", cores: int = 1, **spec: Any) -> Job:
    """One attempt at running some Python."""
    command = {"kind": "run", "name": "p", "command": [sys.executable, "-c", code]}
    return maker.make(maker.submit(command, resources={"memory": memory, **spec}), cores=cores)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine has no /proc")
@pytest.mark.parametrize("is_held_by", ["the kernel", "looks"])
@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_takes_twice_its_memory_is_stopped_and_asks_for_more(
    maker: Maker, way: str, is_held_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_held_by == "looks":
        monkeypatch.setattr(memory_group, "place", lambda: None)
    elif memory_group.place() is None:
        pytest.skip("this machine lets us make no control group")
    else:
        nobody_looks(monkeypatch)
    job = program(maker, WAYS[way])

    assert (job.state, job.attempts[-1].end) == (State.PENDING, "out_of_memory")
    assert job.attempts[-1].cause == "went over its memory and was stopped"
    assert job.requests.memory_bytes >= 96 * MIB
    usage = job.attempts[-1].usage
    assert usage is not None and usage.peak_memory_bytes >= 64 * MIB
    if way == "after setsid":
        assert ends(int((maker.directory / "detached").read_text()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine has no /proc")
def test_a_fork_that_has_not_begun_its_program_is_not_held_against_it() -> None:
    """It shares what we hold, which may be far more than a small command was granted."""
    fork = os.fork()
    if not fork:
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execve("/bin/sleep", ["sleep", "600"], {tree.JOB_ID_VARIABLE: "k3v9x2qm"})
        finally:
            os._exit(1)
    try:
        stopped(fork)
        assert fork in tree.descendants(os.getpid()) and fork not in tree.programs_below(os.getpid())
        os.kill(fork, signal.SIGCONT)
        wait_until(lambda: fork in tree.programs_below(os.getpid()), lambda: "it is no program yet")
    finally:
        os.kill(fork, signal.SIGKILL)
        os.waitpid(fork, 0)


def test_memory_that_processes_share_counts_once(maker: Maker) -> None:
    job = program(
        maker,
        """
import os, time
kept = bytearray(b"x") * (40 << 20)
os.fork()
time.sleep(1.5)
""",
    )

    assert job.state is State.SUCCEEDED


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine has no /proc")
@pytest.mark.parametrize("how", ["SHARED", "PRIVATE"])
def test_of_a_process_alone_what_it_shares_with_others_counts_by_its_share(how: str) -> None:
    code = f"import mmap, time; kept = mmap.mmap(0, 0, flags=mmap.MAP_{how}); kept[:] = b'x' * len(kept)"
    with os.fdopen(os.memfd_create("kept"), "wb") as file:
        file.truncate(128 * MIB)
        with mmap.mmap(file.fileno(), 0) as ours:
            ours[:] = b"x" * len(ours)
            other = subprocess.Popen(
                [sys.executable, "-c", f"{code}; print(flush=True); time.sleep(600)"],
                stdin=file,
                stdout=subprocess.PIPE,
            )
            assert other.stdout is not None and other.stdout.readline()
            held = tree.memory_bytes([other.pid])
            other.kill()
            other.communicate()
    assert held > 128 * MIB if how == "PRIVATE" else 64 * MIB < held < 96 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine has no /proc")
def test_what_several_processes_share_is_counted_now_and_then_and_whenever_they_are_others_or_hold_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked: list[Sequence[int]] = []
    held, apart = {1: 60, 2: 60, 3: 40}, {1: 100, 2: 100, 3: 40}

    def walk(pids: Sequence[int]) -> int:
        walked.append(pids)
        return sum(map(held.__getitem__, pids))

    monkeypatch.setattr(tree, "memory_bytes", walk)
    monkeypatch.setattr(tree, "_bytes_apart", apart.__getitem__)

    footprint = tree.Footprint()
    assert [footprint.look([1, 2]) for _ in range(tree.WALK_EVERY)] == [120] * tree.WALK_EVERY
    assert walked == [[1, 2]]
    assert footprint.look([1, 2]) == 120 and len(walked) == 2
    assert footprint.look([1, 2, 3]) == 160 and len(walked) == 3
    apart[3] = 30
    assert footprint.look([1, 2, 3]) == 150 and len(walked) == 3
    apart[3], held[3] = 50, 45
    assert footprint.look([1, 2, 3]) == 165 and len(walked) == 4

    held[1] = 90  # it has pages of its own by now, and no more of them
    assert [footprint.look([1, 2, 3], most_bytes=180) for _ in range(tree.DOUBTFUL_EVERY)][-1] == 195


@needs_groups
def test_a_program_that_loses_a_process_to_the_kernel_has_run_out_of_memory_whatever_it_makes_of_that(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with 0 before anybody has looked; and no group is left of it."""
    nobody_looks(monkeypatch)
    monkeypatch.setattr(run, "LOOK_S", 60.0)
    job = program(maker, "import os; os.wait() if os.fork() else bytearray(b'x') * (512 << 20)")
    assert (job.state, job.attempts[-1].end) == (State.PENDING, "out_of_memory")
    assert list(GROUPS.directory.glob(f"*{job.id}")) == []


@needs_groups
def test_a_group_that_a_killed_attempt_left_is_swept_and_one_with_a_process_stays() -> None:
    left, used = (GROUPS.make(f"{name}-{os.getpid()}", 64 * MIB) for name in ("left", "used"))
    assert left is not None and used is not None
    join = used.join
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, preexec_fn=join) as inside:  # noqa: PLW1509 - one process
        GROUPS.sweep()
        assert (left.directory.exists(), used.directory.exists()) == (False, True)
        assert inside.stdin is not None
        inside.stdin.close()
    GROUPS.sweep()
    assert not used.directory.exists()


@needs_groups
@pytest.mark.parametrize("by", ["the next attempt", "the next pool"])
def test_what_a_killed_attempt_left_without_lock_and_environment_is_ended_by_its_group(maker: Maker, by: str) -> None:
    job_id = maker.submit({"kind": "run", "name": "p", "command": ["true"]})
    group = GROUPS.make(job_id, 64 * MIB)
    assert group is not None
    with subprocess.Popen(["sleep", "600"], env={}, preexec_fn=group.join) as daemon:  # noqa: PLW1509 - one process
        try:
            with held_lock(maker.store, job_id):
                end_orphans(maker.home)
                assert daemon.poll() is None, "its attempt lives"
            if by == "the next attempt":
                assert maker.make(job_id).state is State.SUCCEEDED
            else:
                end_orphans(maker.home)
            assert daemon.wait(timeout=5) == -signal.SIGKILL
        finally:
            daemon.kill()
    assert not group.directory.exists()


def test_the_cache_of_mapped_files_is_not_the_jobs(maker: Maker) -> None:
    job = program(
        maker,
        """
import mmap, time
with open("large", "wb") as file: file.truncate(200 << 20)
with open("large", "r+b") as file: kept = mmap.mmap(file.fileno(), 0)
for at in range(0, len(kept), 4096): kept[at] = 1
time.sleep(1.5)
""",
    )

    assert job.state is State.SUCCEEDED


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this machine has no affinity")
def test_a_program_that_starts_eight_threads_gets_its_cores_only(maker: Maker) -> None:
    job = program(
        maker,
        """
import hashlib, json, os, threading, time
seen = []
def work():
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200000)
    seen.append(sorted(os.sched_getaffinity(0)))
began, used = time.monotonic(), time.process_time()
threads = [threading.Thread(target=work) for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
json.dump([seen, (time.process_time() - used) / (time.monotonic() - began)], open("seen", "w"))
""",
        memory="256MiB",
    )

    assert job.state is State.SUCCEEDED, job.reason
    seen, cores_used = json.loads((maker.directory / "seen").read_text())
    granted = job.attempts[-1].terms.cores
    assert len(granted) == 1 and all(cores == list(granted) for cores in seen)
    assert cores_used < 1.1


@pytest.mark.skipif(len(CORES) < 2, reason="there is no other core to take")
def test_a_program_that_gives_itself_more_cores_has_them_taken_back_from_all_its_threads_and_children(
    maker: Maker,
) -> None:
    job = program(
        maker,
        f"""
import json, os, threading, time
cores = lambda: sorted(os.sched_getaffinity(0))
seen, until = [], time.monotonic() + 20
def work():
    os.sched_setaffinity(0, {CORES!r})
    while len(cores()) > 1 and time.monotonic() < until: time.sleep(0.01)
    seen.append(cores())
child = os.fork()
thread = threading.Thread(target=work)
thread.start()
thread.join()
if not child: os._exit(seen != [cores()])
json.dump([seen, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])], open("seen", "w"))
""",
        memory="256MiB",
    )

    assert job.state is State.SUCCEEDED, job.reason
    assert json.loads((maker.directory / "seen").read_text()) == [[list(job.attempts[-1].terms.cores)], 0]


@pytest.mark.parametrize("place", ["SINGLEPOINT_CHECKPOINT_DIR", "SINGLEPOINT_OUTPUT_DIR"])
def test_a_program_that_fills_the_disk_stops_at_its_quota(maker: Maker, place: str) -> None:
    code = f"""
import os, time
with open(os.path.join(os.environ["{place}"], "f"), "wb") as file:
    for _ in range(200):
        file.write(os.urandom(1 << 20)); file.flush(); time.sleep(0.05)
"""
    job = program(maker, code, storage="8MiB")

    assert (job.state, job.attempts[-1].end) == (State.FAILED, "out_of_storage")
    assert job.reason == "went over its storage and was stopped"
