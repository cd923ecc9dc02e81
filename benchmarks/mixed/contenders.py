"""Whoever else may run forty commands on one machine, each as its users run it; all is up before the time begins.

A contender is entered with the directory it may use, and then asked to run all commands; it returns when the last has
ended. What is not installed says so (`Missing`), and is left out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import redis
from rq import Queue

from singlepoint.jobs.broker.server_program import command as server_command
from singlepoint.jobs.broker.server_program import prepare
from singlepoint.jobs.store.home import open_home
from tests.system.machine import ROOT, wait_until

from .jobs import one_thread

Commands = Sequence[Sequence[str]]
Run = Callable[[Commands], None]
Contender = Callable[[Path], AbstractContextManager[Run]]

LONGEST_S = 900.0


class Missing(Exception):
    """What is not installed, and what would bring it."""


def default_threads() -> dict[str, str]:
    """The environment of a user who sets nothing: the libraries take as many threads as there are cores."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def shell_loop(environment: Callable[[], Mapping[str, str]], at_once: int) -> Contender:
    """`xargs -P N`, one line a command."""

    @contextmanager
    def enter(directory: Path) -> Iterator[Run]:
        def run(commands: Commands) -> None:
            lines = "".join(f"{shlex.join(words)}\n" for words in commands)
            subprocess.run(
                ["xargs", "-P", str(at_once), "-I{}", "sh", "-c", "{}"],
                input=lines,
                text=True,
                cwd=directory,
                env=environment(),
                stdout=subprocess.DEVNULL,
                check=True,
            )

        yield run

    return enter


def plain_rq(workers: int) -> Contender:
    """RQ with its own worker pool: the function runs the command's script in the forked child."""

    @contextmanager
    def enter(directory: Path) -> Iterator[Run]:
        home = open_home(directory / f"rq-{workers}-{time.time_ns()}")
        socket = home.redis / "redis.sock"
        server = subprocess.Popen(server_command(prepare(home), home), stdout=subprocess.DEVNULL)
        pool = None
        try:
            wait_until(socket.exists, lambda: "no server")
            connection = redis.Redis(unix_socket_path=str(socket))
            rq = str(Path(sys.executable).with_name("rq"))
            words = [rq, "worker-pool", "--quiet", "--url", f"unix://{socket}", "-n", str(workers), "default"]
            pool = subprocess.Popen(words, cwd=directory, env=default_threads(), stdout=subprocess.DEVNULL)
            wait_until(lambda: connection.scard("rq:workers:default") == workers, lambda: "no workers", 120)
            yield lambda commands: _through_rq(Queue(connection=connection), commands)
        finally:
            if pool is not None:
                pool.terminate()
                pool.wait(60)
            server.terminate()
            server.wait(60)

    return enter


def _through_rq(queue: Queue, commands: Commands) -> None:
    for words in commands:
        queue.enqueue("benchmarks.mixed.contenders.run_script", list(words), job_timeout=int(LONGEST_S))

    def all_ended() -> bool:
        return queue.finished_job_registry.count + queue.failed_job_registry.count == len(commands)

    wait_until(all_ended, lambda: queue.finished_job_registry.count, LONGEST_S)
    assert queue.failed_job_registry.count == 0, "jobs of plain RQ failed"


def run_script(words: Sequence[str]) -> None:
    """What a user of RQ enqueues: the script's work, in the process that the worker forked for it."""
    import runpy

    _, script, *arguments = words
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def hyperqueue(cores: int) -> Contender:
    """A server and a worker of HyperQueue; a core and one thread for each task."""

    @contextmanager
    def enter(directory: Path) -> Iterator[Run]:
        try:
            from hyperqueue import Job
            from hyperqueue.cluster import LocalCluster, WorkerConfig
        except ImportError:
            raise Missing("pip install hyperqueue") from None

        def run(commands: Commands) -> None:
            job = Job(default_workdir=directory, default_env=one_thread())
            for words in commands:
                job.program(list(words), stdout=None, stderr=None)
            client = cluster.client()
            client.wait_for_jobs([client.submit(job)])

        with LocalCluster(str(directory / f"hq-{time.time_ns()}"), WorkerConfig(cores=cores)) as cluster:
            yield run

    return enter


def task_spooler(cores: int) -> Contender:
    """`tsp`, as many at a time as there are cores, with one thread each."""

    @contextmanager
    def enter(directory: Path) -> Iterator[Run]:
        if shutil.which("tsp") is None:
            raise Missing("apt install task-spooler")
        environment = {**one_thread(), "TS_SOCKET": str(directory / f"tsp-{time.time_ns()}")}

        def tsp(*words: str) -> None:
            subprocess.run(["tsp", *words], cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=True)

        def run(commands: Commands) -> None:
            for words in commands:
                tsp("-n", *words)
            wait_until(lambda: _are_finished(environment, len(commands)), lambda: "tsp", LONGEST_S)

        tsp("-S", str(cores))
        try:
            yield run
        finally:
            tsp("-K")

    return enter


def _are_finished(environment: Mapping[str, str], count: int) -> bool:
    time.sleep(0.1)
    listed = subprocess.run(["tsp"], env=environment, capture_output=True, text=True, check=True).stdout
    return listed.count("finished") == count


def pueue(cores: int) -> Contender:
    """`pueued` and `pueue`, likewise."""

    @contextmanager
    def enter(directory: Path) -> Iterator[Run]:
        if shutil.which("pueued") is None:
            raise Missing("pueue from its releases, or `cargo install pueue`")
        configuration = directory / f"pueue-{time.time_ns()}"
        configuration.mkdir()
        words = f"shared:\n  pueue_directory: {configuration}\n  runtime_directory: {configuration}\n"
        (configuration / "pueue.yml").write_text(words)

        def pueue(*words: str) -> None:
            argv = ["pueue", "--config", str(configuration / "pueue.yml"), *words]
            subprocess.run(argv, cwd=directory, env=one_thread(), stdout=subprocess.DEVNULL, check=True)

        def run(commands: Commands) -> None:
            for words in commands:
                pueue("add", "--", shlex.join(words))
            pueue("wait", "--all", "--quiet")

        argv = ["pueued", "--config", str(configuration / "pueue.yml")]
        daemon = subprocess.Popen(argv, env=one_thread(), stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: any(configuration.glob("*.socket")), lambda: "no daemon")
            pueue("parallel", str(cores))
            yield run
        finally:
            daemon.terminate()
            daemon.wait(60)

    return enter


def contenders(cores: int, jobs: int) -> dict[str, Contender]:
    """By name: who may be compared with on so many cores."""
    return {
        "shell-one": shell_loop(one_thread, cores),
        "shell-default": shell_loop(default_threads, cores),
        "rq-cores": plain_rq(cores),
        "rq-jobs": plain_rq(jobs),
        "hyperqueue": hyperqueue(cores),
        "task-spooler": task_spooler(cores),
        "pueue": pueue(cores),
    }
