"""Predictions and jobs under load while everything is killed in turn: page, the process that computes, workers, Redis.

    python -m benchmarks.serving_kills [--minutes 5]

Each client asks for rows of its own and holds every answer against the batch prediction's bits; an answer that belongs
to another client is a wrong one. A killed service may break a connection or say 503, nothing else. Told at the end:
answers, wrong ones, statuses, kills, jobs and how they ended, and the services' memory at the beginning and at the end.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks import serving
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor
from tests.system.machine import Machine

CLIENTS = 6
APART_S = 6.0
"""Between two kills."""


class Client(threading.Thread):
    """Asks until told to end; counts what it was told."""

    def __init__(self, machine: Machine, requests: list[bytes], expected: list[bytes], ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._machine, self._requests, self._expected, self._ended = machine, requests, expected, ended
        self.told = Counter[str]()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        number = 0
        while not self._ended.is_set():
            number = (number + 1) % len(self._requests)
            try:
                if connection is None:
                    port, token = serving.port_and_token(self._machine)
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                body = self._requests[number]
                headers = {"Authorization": token, "Inference-Header-Content-Length": "0"}
                connection.request("POST", serving.INFER, body, headers)
                answer = connection.getresponse()
                self._note(answer.status, answer.read(), self._expected[number])
            except (OSError, http.client.HTTPException, AssertionError):  # it was killed under us
                self.told["broken connections"] += 1
                connection = None
                time.sleep(0.05)
        if connection is not None:
            connection.close()

    def _note(self, status: int, body: bytes, wanted: bytes) -> None:
        if status == 200:
            self.told["right" if wanted in body else "WRONG"] += 1
        else:
            self.told[f"status {status}"] += 1
            time.sleep(0.02)


def victims(machine: Machine, what: str) -> list[int]:
    """Processes to kill. `attempt`: one that works on a job."""
    if what == "redis":
        with suppress(AssertionError):
            return [machine.server_pid()]
        return []
    if what == "attempt":
        return [child.pid for pid in machine.pids("worker") for child in psutil.Process(pid).children(True)][-1:]
    return machine.pids(what)


def services_bytes(machine: Machine) -> int:
    """What page and computing process use together."""
    return sum(
        int(psutil.Process(pid).memory_full_info().uss) for name in ("page", "serving") for pid in machine.pids(name)
    )


def run(machine: Machine, minutes: float) -> None:
    draw = np.random.default_rng(3)
    predictor = ModelPredictor(files.load(machine.home.models / "net" / "1"))
    ended, clients = threading.Event(), list[Client]()
    for _ in range(CLIENTS):
        parts = [draw.normal(size=(int(draw.integers(1, 40)), 30)).astype(np.float32) for _ in range(50)]
        scores = [predictor.predict(part.astype(np.float64)).probabilities for part in parts]
        clients.append(
            Client(
                machine, [part.tobytes() for part in parts], [one.tobytes() for one in scores if one is not None], ended
            )
        )
    for client in clients:
        client.start()
    kills, jobs, begun, used = Counter[str](), list[str](), time.monotonic(), list[int]()
    order = ("serving", "attempt", "page", "redis")
    while time.monotonic() - begun < 60 * minutes:
        with suppress(Exception):  # Redis may be away just now
            jobs.append(machine.train(f"load{len(jobs)}", epochs=300))
        time.sleep(APART_S)
        with suppress(psutil.Error):
            used.append(services_bytes(machine))
        what = order[sum(kills.values()) % len(order)]
        for pid in victims(machine, what):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        kills[what] += 1
    time.sleep(APART_S)
    used.append(services_bytes(machine))
    ended.set()
    for client in clients:
        client.join(70)
    ends = Counter(machine.finished(job, 120).state.value for job in jobs)
    told = sum((client.told for client in clients), Counter[str]())
    print(f"{minutes:g} minutes, {CLIENTS} clients; kills: {dict(kills)}")
    print(f"answers: {dict(told)}")
    print(f"jobs: {dict(ends)}")
    print(
        f"memory of page and computing process: {used[0] >> 20} MiB after {APART_S:g} s, {used[-1] >> 20} at the end, "
        f"{max(used) >> 20} at most"
    )
    print("defects in the log:", machine.log.read_text().count(" defect "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    model = serving.a_model()
    with tempfile.TemporaryDirectory() as directory, serving.our_service(Path(directory), model) as machine:
        run(machine, arguments.minutes)


if __name__ == "__main__":
    main()
