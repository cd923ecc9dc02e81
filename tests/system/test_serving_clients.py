"""Clients that others wrote, against the whole service: Triton's, by JSON and by bytes, and MLflow's forms."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.client.entry import read_address, service_token
from singlepoint.worker.models import files
from singlepoint.worker.models.predictor import ModelPredictor

from .machine import Machine, answering
from .test_serving import table

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with answering(tmp_path_factory.mktemp("clients")) as one:
        one.finished(one.train("wdbc", epochs=30))
        yield one


def place_and_headers(machine: Machine) -> tuple[str, dict[str, str]]:
    address = read_address(machine.home)
    assert address is not None
    return address.url.removeprefix("http://"), {"Authorization": f"Bearer {service_token(machine.home, {})}"}


def expected(machine: Machine) -> Any:
    return ModelPredictor(files.load(machine.home.models / "wdbc" / "1")).predict(table(machine))


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_is_answered_the_bits_of_the_batch(machine: Machine, binary: bool) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="this machine has no tritonclient[http]")
    place, headers = place_and_headers(machine)
    rows = table(machine)
    client = triton.InferenceServerClient(place)
    given = triton.InferInput("input", list(rows.shape), "FP64")
    given.set_data_from_numpy(rows, binary_data=binary)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "label")]
    answer = client.infer("wdbc", [given], outputs=outputs, headers=headers, request_id="7")
    all_outputs = client.infer("wdbc", [given], headers=headers)
    labels = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("label").tolist()]

    assert answer.get_response()["id"] == "7"
    assert answer.as_numpy("probabilities").tobytes() == expected(machine).probabilities.tobytes()
    assert all_outputs.as_numpy("probabilities").tobytes() == expected(machine).probabilities.tobytes()
    assert labels == expected(machine).labels.tolist()


def test_tritons_client_asks_what_there_is(machine: Machine) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="this machine has no tritonclient[http]")
    place, headers = place_and_headers(machine)
    client = triton.InferenceServerClient(place)

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("wdbc", headers=headers)
    assert client.get_model_metadata("wdbc", "1", headers=headers)["inputs"][0]["shape"] == [-1, 30]
    assert client.get_model_repository_index(headers=headers)[0]["name"] == "wdbc"
    with pytest.raises(triton.InferenceServerException, match="no such model"):
        client.get_model_metadata("none", headers=headers)


def test_mlflows_documented_requests_are_answered_alike(machine: Machine) -> None:
    """https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally: each of its forms, by its curl lines."""
    place, headers = place_and_headers(machine)
    model = files.load(machine.home.models / "wdbc" / "1")
    assert model.preprocessor is not None
    columns, rows = list(model.preprocessor.input_names), table(machine)[:3].tolist()  # type: ignore[union-attr]
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    forms: list[tuple[str, bytes]] = [
        ("application/json", json.dumps(document).encode())
        for document in (
            {"dataframe_split": {"columns": columns, "data": rows}},
            {"dataframe_records": named},
            {"instances": rows},
            {"instances": named},
            {"inputs": rows},
            {"inputs": {name: [row[name] for row in named] for name in columns}, "params": {}},
        )
    ]
    forms.append(("text/csv", "\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]).encode()))
    answers = []
    for kind, body in forms:
        request = urllib.request.Request(f"http://{place}/invocations", body, {**headers, "Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as answer:
            answers.append(json.loads(answer.read()))

    assert answers == [{"predictions": expected(machine).labels[:3].tolist()}] * len(forms)
    assert np.isin(answers[0]["predictions"], model.classes).all()
