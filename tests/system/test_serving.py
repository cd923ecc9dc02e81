"""Predictions at once through the page, over real processes: the answers of the batch prediction, also after a kill."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.client.entry import read_address, service_token
from singlepoint.jobs.host.singleton import holder

from .machine import Machine, answering, wait_until

pytestmark = pytest.mark.system

ROWS = 40


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with answering(tmp_path_factory.mktemp("serving")) as one:
        one.finished(one.train("wdbc", epochs=30))
        yield one


def ask(machine: Machine, path: str, document: Any = None, token: bool = True) -> tuple[int, Any]:
    address = read_address(machine.home)
    assert address is not None
    request = urllib.request.Request(f"{address.url}{path}", json.dumps(document).encode() if document else None)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {service_token(machine.home, {})}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read().strip() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def table(machine: Machine) -> np.ndarray:
    with open(machine.directory / "wdbc.csv") as file:
        header, *rows = csv.reader(file)
    numbers = [place for place, name in enumerate(header) if name != "diagnosis"]
    return np.array([[float(row[place]) for place in numbers] for row in rows[:ROWS]])


def infer(machine: Machine, values: np.ndarray) -> tuple[int, Any]:
    one = {"name": "input", "datatype": "FP64", "shape": list(values.shape), "data": values.tolist()}
    return ask(machine, "/v2/models/wdbc/infer", {"inputs": [one]})


def test_an_answer_is_that_of_the_batch_prediction(machine: Machine, tmp_path: Path) -> None:
    output = machine.directory / "answers.csv"
    machine.run("submit", "predict", "--model", "wdbc", "--input", "wdbc.csv", "--output", str(output), "--wait", "-q")
    with open(output) as file:
        batch = list(csv.DictReader(file))[:ROWS]
    status, answer = infer(machine, table(machine))
    found = {one["name"]: one["data"] for one in answer["outputs"]}
    classes = [name for name in batch[0] if name.startswith("p_")]
    expected = np.array([[row[name] for name in classes] for row in batch], np.float32)

    assert status == 200
    assert np.array(found["probabilities"], np.float32).reshape(ROWS, -1).tobytes() == expected.tobytes()
    assert found["label"] == [row["predicted_diagnosis"] for row in batch]


def test_mlflow_clients_are_answered(machine: Machine) -> None:
    status, answer = ask(machine, "/invocations", {"instances": table(machine)[:2].tolist()})

    assert (status, len(answer["predictions"])) == (200, 2)
    assert ask(machine, "/ping")[0] == 200


def test_every_route_needs_the_token_and_an_error_has_the_word_its_clients_read(machine: Machine) -> None:
    for path in ("/v2", "/v2/models/wdbc", "/v2/models/wdbc/infer", "/invocations", "/ping"):
        assert ask(machine, path, {"inputs": []} if "inf" in path or "invo" in path else None, token=False)[0] == 401
    status, told = ask(machine, "/v2/models/none/infer", {"inputs": []})
    assert (status, set(told)) == (404, {"error"})
    assert "error" in ask(machine, "/v2/models/wdbc/infer", {"inputs": []}, token=False)[1]


def test_what_was_predicted_is_counted_by_model(machine: Machine) -> None:
    infer(machine, table(machine))
    address = read_address(machine.home)
    assert address is not None
    request = urllib.request.Request(f"{address.url}/metrics")
    request.add_header("Authorization", f"Bearer {service_token(machine.home, {})}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = answer.read().decode()
    counts = {name: float(value) for name, value in re.findall(r"^singlepoint_inference_(\S+) (\S+)$", told, re.M)}

    assert counts['rows_total{model="wdbc"}'] >= ROWS
    assert counts['batch_rows_sum{model="wdbc"}'] >= ROWS
    assert counts['seconds_count{model="wdbc"}'] == counts['queue_seconds_count{model="wdbc"}'] >= 1
    assert counts["waiting"] == 0


def test_a_process_that_is_killed_is_there_again_and_the_answers_are_the_same(machine: Machine) -> None:
    before = infer(machine, table(machine))
    process = holder(machine.home.serving(0)[0])
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)

    def again() -> tuple[int, Any] | None:
        answer = infer(machine, table(machine))
        assert answer[0] in (200, 503), answer
        return answer if answer[0] == 200 else None

    assert wait_until(again, machine.tail) == before
    assert not re.search(r"defect", machine.tail())
