"""The size of a home: the same commands, starts and passes of the scheduler, with many ended jobs beside few.

    python -m benchmarks.home [--ended 100000] [--waiting 1000] [--in DIRECTORY] [--only up|away|passes|attempts]

Prints, of a home with 1,000 ended jobs and of one with `--ended`: seconds of whole processes, median of three, while
singlepoint is up and while nothing runs (Redis is away then, and the disk tells); seconds from `up` to ready, and to a
whole index after all of Redis's data was lost; processor time of the scheduler's passes; and what one more event costs
a job that has made many attempts. The homes are written directly, and kept in `--in` for the next time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from benchmarks.home_maker import fill
from benchmarks.home_passes import long_job, passes
from singlepoint.jobs.client.session import Settings, open_session
from singlepoint.jobs.clock import now
from singlepoint.jobs.services.draining import Drain, drain
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.jobs.store.job_store import JobStore

FEW = 1000
ATTEMPTS = (100, 10_000)
COMMANDS = (
    "ps",
    "ps -a --limit 20",
    "show {id}",
    "show {begin}",
    "show job-7",
    "show last",
    "logs {id}",
    "explain {waiting}",
    "report",
)
UP = ("up", "--detach", "--workers", "1", "--budget", "cpu=1,memory=2GiB")
ENOUGH_S = 60.0

Figures = dict[str, float]


def command(home: Home, words: list[str], allowed: tuple[int, ...] = (0,)) -> float:
    """Seconds of one command; its answer does not matter here, that it has one does."""
    began = time.perf_counter()
    argv = [sys.executable, "-m", "singlepoint", "--home", str(home.path), *words]
    ended = subprocess.run(argv, capture_output=True, check=False)
    assert ended.returncode in allowed, (words, ended.stderr.decode())
    return time.perf_counter() - began


def made(directory: Path, ended: int, waiting: int) -> Home:
    """The home of that size, as it was left the last time, or new. What waits is there to wait: it is being drained."""
    is_new = not directory.exists()
    home = open_home(directory)
    if is_new:
        fill(home, ended=ended, waiting=waiting)
        drain(home, Drain(now()), now())
    return home


def while_up(home: Home) -> Figures:
    """Starts, with Redis's data and without; and the commands."""
    found = {"up": command(home, list(UP))}
    try:
        found |= commands(home, "")
        found["submit run"] = _median(lambda: command(home, ["submit", "run", "-q", "--", "true"]))
        command(home, ["down", "--now"])
        shutil.rmtree(home.redis)
        began = time.perf_counter()
        found["up, Redis's data lost"] = command(home, list(UP))
        index = open_session(Settings(home.path)).index
        while not index.is_complete() and time.perf_counter() - began < ENOUGH_S:
            time.sleep(0.01)
        found["until the index is whole"] = time.perf_counter() - began
    finally:
        command(home, ["down", "--now"])
    return found


def while_away(home: Home) -> Figures:
    """The commands while nothing runs: what they know they say, and then that Redis is away (69)."""
    return commands(home, ", away", allowed=(0, 69))


def commands(home: Home, suffix: str, allowed: tuple[int, ...] = (0,)) -> Figures:
    waiting = JobStore(home).unlisted_ids()[0]
    with JobStore(home).ledger.opened() as content:
        ended = content[: content.find(b"\n")].split(b'"')[3].decode()
    return {
        f"{words}{suffix}": _median(
            lambda words=words: command(home, words.format(id=ended, begin=ended[:7], waiting=waiting).split(), allowed)
        )
        for words in COMMANDS
    }


def _median(once: Callable[[], float]) -> float:
    return statistics.median(once() for _ in range(3))


PARTS: Mapping[str, Callable[[Home], Figures]] = {"up": while_up, "away": while_away, "passes": passes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ended", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--in", dest="directory", type=Path)
    parser.add_argument("--only", choices=[*PARTS, "attempts", "homes"])
    options = parser.parse_args()
    with nullcontext(options.directory) if options.directory else tempfile.TemporaryDirectory() as where:
        sizes = (FEW, options.ended)
        homes = [made(Path(where) / f"{ended}-{options.waiting}", ended, options.waiting) for ended in sizes]
        print(f"{'':32} {FEW:>9,} {options.ended:>9,} ended, beside {options.waiting:,} that wait")
        for name, part in PARTS.items():
            if options.only in (None, name):
                few, many = (part(home) for home in homes)
                for row, took in few.items():
                    print(f"{row:32} {took:9.3f} {many[row]:9.3f} s", flush=True)
    if options.only in (None, "attempts"):
        few, many = (long_job(attempts) for attempts in ATTEMPTS)
        print(f"\n{'':32} {ATTEMPTS[0]:>9,} {ATTEMPTS[1]:>9,} attempts of one job")
        for row, took in few.items():
            print(f"{row:32} {1000 * took:9.2f} {1000 * many[row]:9.2f} ms")


if __name__ == "__main__":
    main()
