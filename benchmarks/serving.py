"""Predictions at once beside what a user would pick instead: the same weights, one run, one machine.

    python -m benchmarks.serving [--only compare|training|bits|idle] [--answers 1000000] [--processes N]

compare: one row of a 30-64-32-2 net a request, by 1, 8 and 32 clients that keep their connection, as JSON and as bytes:
answers a second and how long they took, of our whole service (`up --http`: token, host and limits checked, the row
prepared, its answer the bits of the batch prediction) beside a handler by hand in starlette and PyTorch that checks
nothing, LitServe and MLflow's scoring server. All take turns; the median of the rounds is told.
training: the same while a training job has the other core.
idle: tiny jobs a second while the service only waits, beside the same while its processes stand still; the median of
the rounds' ratios, and the processor time that waiting takes.
bits: many rows a request, in both forms, by 32 clients, each answer held against the batch prediction of its rows.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import numpy as np
import psutil

from benchmarks import throughput
from benchmarks.load import Load, load, post
from singlepoint.jobs.client.entry import read_address, service_token
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor
from tests.system.machine import ROOT, Machine, wait_until

CLIENTS = (1, 8, 32)
ROWS = np.random.default_rng(0).normal(size=(512, 30)).astype(np.float32)
INFER = "/v2/models/net/infer"


# -- what is asked ---------------------------------------------------------------------------------------------------


def as_json(path: str, rows: np.ndarray, **headers: str) -> bytes:
    """A request of the Open Inference Protocol."""
    one = {"name": "input", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    wanted = [{"name": "probabilities"}]
    return post(path, json.dumps({"inputs": [one], "outputs": wanted}).encode(), **headers)


def as_bytes(path: str, rows: np.ndarray, **headers: str) -> bytes:
    """The same by Triton's extension."""
    content = rows.tobytes()
    binary = {"parameters": {"binary_data_size": len(content)}}
    one = {"name": "input", "datatype": "FP32", "shape": list(rows.shape), **binary}
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [one], "outputs": wanted}).encode()
    return post(path, head + content, Inference_Header_Content_Length=str(len(head)), **headers)


def plain_bytes(path: str, rows: np.ndarray, **headers: str) -> bytes:
    return post(path, rows.tobytes(), **headers)


def of_columns(path: str, rows: np.ndarray, **headers: str) -> bytes:
    return post(path, json.dumps({"data": rows[0].tolist()}).encode(), Content_Type="application/json", **headers)


def as_instances(path: str, rows: np.ndarray, **headers: str) -> bytes:
    return post(path, json.dumps({"inputs": rows.tolist()}).encode(), Content_Type="application/json", **headers)


@dataclass(frozen=True)
class Server:
    """Something that answers. name: with the form it is asked in.  requests: one a row."""

    name: str
    port: int
    requests: Sequence[bytes]


def each(form: Callable[..., bytes], path: str, **headers: str) -> list[bytes]:
    return [form(path, ROWS[n : n + 1], **headers) for n in range(len(ROWS))]


# -- who answers -----------------------------------------------------------------------------------------------------


def a_model() -> Model:
    rows = np.random.default_rng(1).normal(size=(2000, 30)).astype(np.float32)
    labels = np.where(rows[:, 0] + rows[:, 1] ** 2 > 1, "malignant", "benign")
    return Model(hidden=[64, 32], preprocessing={"normalise": "standard"}).fit(rows, labels, epochs=3)


@contextmanager
def our_service(directory: Path, model: Model, processes: int = 1) -> Iterator[Machine]:
    """The whole of it: Redis, scheduler, workers, page, and the model in the home."""
    machine = Machine(directory, budget="cpu=1,memory=2GiB", workers=1, grace_s=5, http=True)
    place = machine.home.models / "net" / "1"
    place.mkdir(parents=True)
    files.save(model.trained, place)
    (machine.home.path / "settings.toml").write_text(f"[http]\nprocesses = {processes}\n")
    try:
        machine.start()
        wait_until(lambda: read_address(machine.home), machine.tail)
        yield machine
    finally:
        machine.stop()


def port_and_token(machine: Machine) -> tuple[int, str]:
    address = read_address(machine.home)
    assert address is not None
    return int(re.sub(r".*:", "", address.url)), f"Bearer {service_token(machine.home, {})}"


def ours(machine: Machine) -> list[Server]:
    port, token = port_and_token(machine)
    forms = {"singlepoint JSON": as_json, "singlepoint binary": as_bytes}
    return [Server(name, port, each(form, INFER, Authorization=token)) for name, form in forms.items()]


PEERS: Mapping[str, tuple[str, Mapping[str, tuple[Callable[..., bytes], str]]]] = {
    "plain": ("starlette", {"starlette JSON": (as_json, "/infer"), "starlette binary": (plain_bytes, "/binary")}),
    "litserve": ("litserve", {"LitServe JSON": (of_columns, "/predict")}),
    "mlflow": ("mlflow", {"MLflow JSON": (as_instances, "/invocations")}),
}
"""By the name that `serving_peers` knows: what must be installed besides torch, and the forms it is asked in."""


@contextmanager
def peer(name: str, weights: Path) -> Iterator[list[Server]]:
    """A peer that answers; no servers where it cannot, which is told."""
    package, forms = PEERS[name]
    if missing := [one for one in ("torch", package) if subprocess.run(_found(one), check=False).returncode]:
        print(f"{name}: left out, {missing[0]} is not installed")
        yield []
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.serving_peers", name, str(port), str(weights)]
    log = weights.with_name(f"{name}.log")
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)
    try:
        servers = [Server(form, port, each(make, path)) for form, (make, path) in forms.items()]
        try:
            wait_until(lambda: answers(servers[0]), lambda: log.read_text()[-2000:], 60)
        except AssertionError as error:
            print(f"{name}: left out, it did not answer: {error}")
            servers = []
        yield servers
    finally:
        with_all_below(process)


def _found(package: str) -> list[str]:
    return [sys.executable, "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"]


def answers(server: Server) -> bool:
    try:
        return not load(server.port, server.requests[:1], clients=1, answers=1).statuses
    except OSError:
        return False


def with_all_below(process: subprocess.Popen[bytes]) -> None:
    """End a peer and what it started, which are a session of their own."""
    os.killpg(process.pid, 15)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


# -- the parts -------------------------------------------------------------------------------------------------------

HEAD = f"{'':<20}{'clients':>8}{'answers/s':>11}{'p50 ms':>8}{'p90':>8}{'p95':>8}{'p99':>8}"


def line(name: str, clients: int, runs: Sequence[Load]) -> str:
    """The medians of some runs."""
    at = "".join(f"{statistics.median(one.at_ms(p) for one in runs):8.2f}" for p in (0.5, 0.9, 0.95, 0.99))
    bad = {status: count for one in runs for status, count in one.statuses.items()}
    return f"{name:<20}{clients:>8}{statistics.median(one.per_s for one in runs):>11,.0f}{at}" + (
        f"  NOT 200: {bad}" if bad else ""
    )


def compare(machine: Machine, weights: Path, seconds: float, rounds: int) -> None:
    with ExitStack() as stack:
        servers = ours(machine)
        for name in PEERS:
            servers += stack.enter_context(peer(name, weights))
        print(f"\nOne row of a 30-64-32-2 net a request; median of {rounds} rounds of {seconds:g} s, in turn\n{HEAD}")
        for clients in CLIENTS:
            runs: dict[str, list[Load]] = {server.name: [] for server in servers}
            for _ in range(rounds):
                for one in servers:
                    runs[one.name].append(load(one.port, one.requests, clients=clients, seconds=seconds))
            for name, found in runs.items():
                print(line(name, clients, found), flush=True)


def while_training(machine: Machine, seconds: float) -> None:
    job = machine.train("busy", epochs=10_000_000)
    machine.wait(job, lambda found: found.state == "running")
    time.sleep(2)
    print(f"\nThe same while a training has the other core\n{HEAD}")
    for clients in CLIENTS:
        for server in ours(machine):
            run = load(server.port, server.requests, clients=clients, seconds=seconds)
            print(f"{line(server.name, clients, [run])}  p99/p50 {run.at_ms(0.99) / run.at_ms(0.5):.1f}", flush=True)
    assert machine.job(job).state == "running", machine.tail()
    machine.run("cancel", job)


def bits(machine: Machine, most_rows: int) -> None:
    """Each answer against the batch prediction's of the same rows; how many rows a request has is drawn."""
    draw, (port, token) = np.random.default_rng(2), port_and_token(machine)
    rows = draw.normal(size=(50_000, 30)).astype(np.float32)
    predictor = ModelPredictor(files.load(machine.home.models / "net" / "1"))
    expected = predictor.predict(rows.astype(np.float64)).probabilities
    assert expected is not None
    edges = np.cumsum([0, *draw.choice([1, 1, 1, 2, 3, 5, 16, 17, 40, 64, 100, 250], 1500)])
    edges = edges[edges <= len(rows)]
    requests, parts = list[bytes](), list[slice]()
    for number, (begin, end) in enumerate(pairwise(edges)):
        requests.append((as_json, as_bytes)[number % 2](INFER, rows[begin:end], Authorization=token))
        parts.append(slice(begin, end))
    seen = wrong = 0

    def hold(number: int, status: int, body: bytes) -> None:
        nonlocal seen, wrong
        wanted = expected[parts[number]]
        if number % 2:
            found = body[-wanted.nbytes :]
        else:
            found = np.array(json.loads(body)["outputs"][0]["data"], np.float32).tobytes()
        seen += len(wanted)
        wrong += 0 if status == 200 and found == wanted.tobytes() else len(wanted)

    begun = time.perf_counter()
    while seen < most_rows:
        load(port, requests, clients=32, answers=len(requests), seen=hold)
    took_s = time.perf_counter() - begun
    print(f"\n{seen:,} answers held against the batch prediction: {wrong} differ ({seen / took_s:,.0f} rows/s)")


def idle(machine: Machine, jobs: int, rounds: int) -> None:
    """What it costs the jobs that page and a loaded model are there, with nobody asking."""
    port, token = port_and_token(machine)
    load(port, each(as_json, INFER, Authorization=token), clients=1, answers=10)
    services = [psutil.Process(pid) for name in ("page", "serving") for pid in machine.pids(name)]
    ratios, used_s, took_s = [], 0.0, 0.0
    for _ in range(rounds):
        for one in services:
            one.suspend()
        still, _ = throughput.ours(machine, jobs)
        for one in services:
            one.resume()
        before_s, begun = processor_s(services), time.perf_counter()
        waiting, _ = throughput.ours(machine, jobs)
        took_s += time.perf_counter() - begun
        used_s += processor_s(services) - before_s
        ratios.append(waiting / still)
    print(f"\nIdle, {rounds} rounds of {jobs} tiny trainings: {statistics.median(ratios):.3f} of the jobs a second")
    print(f"  ({min(ratios):.3f} to {max(ratios):.3f}); processor time of the service {used_s / took_s:.2%} of a core")


def processor_s(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("compare", "training", "idle", "bits"))
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", type=int, default=1_000_000, help="how many rows `bits` holds")
    parser.add_argument("--processes", type=int, default=1, help="how many processes compute")
    arguments = parser.parse_args()
    model = a_model()
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory) / "weights.npz"
        np.savez(weights, **as_arrays(model))
        with our_service(Path(directory), model, arguments.processes) as machine:
            if arguments.only in (None, "compare"):
                compare(machine, weights, arguments.seconds, arguments.rounds)
            if arguments.only in (None, "training"):
                while_training(machine, 2 * arguments.seconds)
            if arguments.only in (None, "idle"):
                idle(machine, jobs=25, rounds=arguments.rounds)
            if arguments.only in (None, "bits"):
                bits(machine, arguments.answers)


def as_arrays(model: Model) -> dict[str, np.ndarray]:
    """The weights and the scaling, for peers."""
    trained = model.trained
    found = {}
    for number, name in enumerate(("0", "1", "2")):
        tensors = trained.network.state_dict()
        found |= {f"w{number}": tensors[f"{name}.weight"], f"b{number}": tensors[f"{name}.bias"]}
    columns = trained.preprocessor.numeric  # type: ignore[union-attr]
    return found | {"offset": np.array([c.offset for c in columns]), "scale": np.array([c.scale for c in columns])}


if __name__ == "__main__":
    main()
