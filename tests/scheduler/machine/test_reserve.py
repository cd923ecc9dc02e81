"""What our own processes take of the memory budget."""

from __future__ import annotations

import os
import subprocess
import sys

from singlepoint.jobs.host.singleton import acquire
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.home import Home
from singlepoint.scheduler.machine.reserve import (
    HEAD_ROOM,
    OURS_BYTES,
    STEP_BYTES,
    WORKER_BYTES,
    measured_reserve,
    page_reserve,
)


def test_the_reserve_is_whole_steps_and_covers_this_process(home: Home) -> None:
    reserve = measured_reserve(home)
    assert reserve.cpu_millis == 0
    assert reserve.memory_bytes % STEP_BYTES == 0
    assert reserve.memory_bytes >= STEP_BYTES


def test_the_reserve_is_never_lowered(home: Home) -> None:
    floor = Resources(memory_bytes=1000 * STEP_BYTES)
    assert measured_reserve(home, floor) == floor


def test_room_for_the_workers_is_reserved_before_they_are_there(home: Home) -> None:
    acquire(home.lock("supervisor"))  # this process plays the supervisor, and its child a pool that just began
    words = [sys.executable, "-c", "print(flush=True); input()", "worker", "--workers", "40"]
    ended = subprocess.Popen(["true"])  # another child that has ended, and nobody has asked how
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # before it runs, nobody sees its words
        assert measured_reserve(home).memory_bytes >= OURS_BYTES + 40 * WORKER_BYTES
    finally:
        child.communicate(b"\n")
        ended.wait()


def test_registered_workers_are_reckoned_with_where_their_processes_cannot_be_seen(home: Home) -> None:
    assert measured_reserve(home, None, 40).memory_bytes >= OURS_BYTES + 40 * WORKER_BYTES


def test_the_supervisors_children_are_ours_too(home: Home) -> None:
    alone = measured_reserve(home)
    acquire(home.lock("supervisor"))  # this process plays the supervisor
    grow = "x = b'x' * (256 * 2**20); print('grown', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", grow], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert measured_reserve(home).memory_bytes >= alone.memory_bytes + 256 * 2**20 * HEAD_ROOM - STEP_BYTES
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def test_the_page_has_a_part_of_its_own_that_goes_with_what_it_holds(home: Home) -> None:
    acquire(home.lock("supervisor"))  # this process plays the supervisor, and its child answers predictions
    alone, nothing = measured_reserve(home), Resources()
    assert page_reserve(home, nothing) == nothing
    serving = (
        "import pathlib, sys; from singlepoint.jobs.host.singleton import acquire\n"
        "lock = acquire(pathlib.Path(sys.argv[1])); model = b'x' * (256 * 2**20); print('loaded', flush=True)\n"
        "input(); del model; print('put away', flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", serving, home.serving(1)[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdout.readline()
        loaded = page_reserve(home, nothing)
        assert loaded.memory_bytes >= 256 * 2**20 * HEAD_ROOM
        assert page_reserve(home, loaded + Resources(memory_bytes=STEP_BYTES)) != loaded, "by a step it is not lowered"
        assert measured_reserve(home).memory_bytes <= alone.memory_bytes + STEP_BYTES, "it is no part of the other"
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        assert page_reserve(home, loaded).memory_bytes < 256 * 2**20
    finally:
        child.kill()
        child.communicate()
    assert page_reserve(home, loaded) == nothing


def test_what_an_attempt_uses_is_not_reserved_but_granted(home: Home) -> None:
    """Four levels below the supervisor is an attempt (or what it started): supervisor, pool, worker, attempt."""
    acquire(home.lock("supervisor"))
    alone = measured_reserve(home)
    grow = "x = b'x' * (512 * 2**20); print('grown', flush=True); input()"
    nest = (
        "import subprocess, sys; depth = int(sys.argv[1]); code = sys.argv[2]\n"
        "command = [sys.executable, '-c', sys.argv[3], str(depth - 1), code, sys.argv[3]]\n"
        "subprocess.run(command if depth else [sys.executable, '-c', code])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", nest, "1", grow, nest], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert measured_reserve(home).memory_bytes < alone.memory_bytes + 256 * 2**20
    finally:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.close()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
