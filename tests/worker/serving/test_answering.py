"""Answers at once: the bits of a prediction of the same rows, whoever shares the batch; and refusals that say why."""

from __future__ import annotations

import errno
import json
import select
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.host.capacity import Capacity, publish_capacity
from singlepoint.jobs.host.frames import Frame, Frames
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.worker.estimator.model import Model
from singlepoint.worker.models import files, registry
from singlepoint.worker.models.predictor import ModelPredictor
from singlepoint.worker.serving import shelf as shelf_module
from singlepoint.worker.serving.answering import LOOK_S, Answering
from singlepoint.worker.serving.process import _Connection, _Loop
from singlepoint.worker.serving.shelf import MEMORY_BYTES, Shelf, budgeted_bytes
from singlepoint.worker.serving.signature import Refused

NOW_S = 100.0
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(96, 4)).astype(np.float32)
LABELS = np.where(X[:, 0] > 0, "yes", "no")
CITIES = np.array(["Rome", "Oslo", "Lima"] * 32, object)


@pytest.fixture(scope="module")
def shelf_of_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """numbers: four columns, two classes.  values: a regression.  mixed: a number and a category."""
    home = open_home(tmp_path_factory.mktemp("serving") / "home")
    standard = {"normalise": "standard"}
    numbers = Model(hidden=[8], preprocessing=standard).fit(X, LABELS, epochs=3)
    values = Model(hidden=[8], preprocessing=standard).fit(X, 1000 * X[:, 0], epochs=3)
    mixed = Model(hidden=[8], preprocessing=standard).fit({"a": X[:, 0], "city": CITIES}, LABELS, epochs=3)
    for name, model in (("numbers", numbers), ("values", values), ("mixed", mixed)):
        (home.models / name / "1").mkdir(parents=True)
        files.save(model.trained, home.models / name / "1")
    return home.path


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """As the serving process has it."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def models(shelf_of_models: Path) -> Home:
    return open_home(shelf_of_models)


@pytest.fixture
def answering(models: Home) -> Answering:
    return Answering(Shelf(models), clock=lambda: NOW_S)


def infer(model: str, document: Any, *after: bytes, identity: int = 0, at_s: float = NOW_S, **head: Any) -> Frame:
    content = json.dumps(document).encode()
    sizes = {"json_bytes": len(content)} if after else {}
    return Frame(identity, {"what": "infer", "model": model, **sizes, **head}, content + b"".join(after), at_s)


def rows(values: np.ndarray, **more: Any) -> dict[str, Any]:
    one = {"name": "input", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
    return {"inputs": [one], **more}


def only(answering: Answering, frame: Frame) -> Frame:
    [found] = all_of(answering, [frame])
    return found


def all_of(answering: Answering, frames: list[Frame]) -> list[Frame]:
    return [frame for some in answering.answer(frames) for frame in Frames().take(some)]


def outputs(frame: Frame) -> dict[str, Any]:
    assert frame.head["status"] == 200, frame.head
    return {one["name"]: one["data"] for one in json.loads(frame.body)["outputs"]}


def predicted(home: Home, name: str, raw: Any) -> Any:
    return ModelPredictor(files.load(home.models / name / "1")).predict(raw)


# ---- the same bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1], [1] * 16, [1, 3, 16, 17, 2], [96], [5] * 19])
def test_every_answer_has_the_bits_of_the_batch_prediction_whoever_shares_it(
    answering: Answering, models: Home, sizes: list[int]
) -> None:
    expected = predicted(models, "numbers", X.astype(np.float64))
    edges = np.cumsum([0, *sizes])
    frames = [infer("numbers", rows(X[a:b]), identity=n) for n, (a, b) in enumerate(pairwise(edges))]
    answers = {frame.id: outputs(frame) for frame in all_of(answering, frames)}

    assert expected.probabilities is not None
    assert expected.labels is not None
    for n, (a, b) in enumerate(pairwise(edges)):
        bits = np.array(answers[n]["probabilities"], np.float32).reshape(-1, 2)
        assert bits.tobytes() == expected.probabilities[a:b].tobytes()
        assert answers[n]["label"] == list(expected.labels[a:b])


def test_of_many_the_first_sixteen_are_answered_first_then_as_many_as_were(answering: Answering) -> None:
    frames = [infer("numbers", rows(X[:1]), identity=number) for number in range(70)]
    together = [[frame.id for frame in Frames().take(some)] for some in answering.answer(frames)]
    assert list(map(len, together)) == [16, 16, 32, 6]
    assert [identity for some in together for identity in some] == list(range(70))


def test_a_regression_answers_in_the_units_of_its_target(answering: Answering, models: Home) -> None:
    expected = predicted(models, "values", X.astype(np.float64)).values

    found = outputs(only(answering, infer("values", rows(X))))["prediction"]
    assert np.array(found, expected.dtype).tobytes() == expected.tobytes()


def test_a_mixed_table_takes_an_input_a_column(answering: Answering, models: Home) -> None:
    expected = predicted(models, "mixed", {"a": X[:3, 0].astype(np.float64), "city": CITIES[:3]})
    document = {
        "inputs": [
            {"name": "city", "datatype": "BYTES", "shape": [3], "data": list(CITIES[:3])},
            {"name": "a", "datatype": "FP64", "shape": [3, 1], "data": [[float(v)] for v in X[:3, 0]]},
        ]
    }
    found = outputs(only(answering, infer("mixed", document)))

    assert np.array(found["probabilities"], np.float32).tobytes() == expected.probabilities.tobytes()


def test_tensors_may_follow_the_json_and_be_asked_for_so(answering: Answering, models: Home) -> None:
    content = X[:5].tobytes()
    document = {
        "id": "a1",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [5, 4], "parameters": {"binary_data_size": 80}}],
        "outputs": [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}],
    }
    found = only(answering, infer("numbers", document, content))
    head = json.loads(found.body[: found.head["json_bytes"]])
    after = found.body[found.head["json_bytes"] :]
    [first] = struct.unpack_from("<I", after)

    assert (head["id"], head["model_name"], head["model_version"]) == ("a1", "numbers", "1")
    assert [one["name"] for one in head["outputs"]] == ["label", "probabilities"]
    assert head["outputs"][0]["parameters"]["binary_data_size"] == len(after)
    assert after[4 : 4 + first].decode() == predicted(models, "numbers", X[:5].astype(np.float64)).labels[0]


def test_what_is_told_of_tensors_is_of_this_answer_whatever_was_answered_before(answering: Answering) -> None:
    for count, identity, wanted in (
        (1, "a", 1),
        (2, "a", 1),
        (2, "b", 1),
        (2, None, 2),
        (2, None, 1),
        (1, "a", 1),
        (1, "a", 9),
    ):
        names = (["probabilities", "label"] * 5)[:wanted]
        document = {
            "inputs": [{**ONE, "shape": [count, 4], "data": [0.5] * 4 * count}],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in names],
        }
        found = only(answering, infer("numbers", document if identity is None else {**document, "id": identity}))
        head = json.loads(found.body[: found.head["json_bytes"]])
        sizes = [one["parameters"]["binary_data_size"] for one in head["outputs"]]

        assert head.get("id") == identity
        assert [(one["name"], one["shape"][0]) for one in head["outputs"]] == [(name, count) for name in names]
        assert sum(sizes) == len(found.body) - found.head["json_bytes"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [[1, 2.5, 3, 4]]}]}',
        b'{"inputs": [{"data":\n[1, 2.5, 3, 4], "name": "input", "datatype": "FP32", "shape": [1, 4]}]}',
        b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "\\u0064ata": [1, 2.5, 3, 4]}]}',
        b'{"id": "\\"data\\":[9]", "inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": '
        b"[1, 2.5, 3, 4]}]}",
        b'{"parameters": {"data": [9]}, "inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], '
        b'"\\u0064ata": [1, 2.5, 3, 4]}]}',
        b'{"parameters": {"data": [9]}, "inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": '
        b"[1, 2.5, 3, 4]}]}",
    ],
)
def test_the_numbers_are_those_of_the_input_however_the_request_is_written(
    answering: Answering, models: Home, body: bytes
) -> None:
    row = np.array([[1, 2.5, 3, 4]])
    for scale in (1, 2, 3):  # the form is known by then, the numbers are others
        sent = body if scale == 1 else body.replace(b"2.5", b"%.1f" % (2.5 * scale))
        row[0, 1] = 2.5 * scale
        found = outputs(only(answering, Frame(0, {"what": "infer", "model": "numbers"}, sent, NOW_S)))
        expected = predicted(models, "numbers", row).probabilities
        assert np.array(found["probabilities"], np.float32).tobytes() == expected.tobytes()


def test_an_answer_waits_for_room_in_the_socket() -> None:
    done: list[object] = []

    class Full(socket.socket):
        def send(self, *_: Any) -> int:
            raise BlockingIOError

        def setblocking(self, flag: bool) -> None:
            done.append(flag)

        def sendall(self, content: Any, *_: Any) -> None:
            done.append(bytes(content))
            raise BrokenPipeError

    with Full() as full:
        _Connection(full).write(b"answer")
    assert done == [True, b"answer", False]


def test_the_process_answers_with_warnings_off_until_it_is_ended(tmp_path: Path) -> None:
    asked: list[tuple[int, str]] = []

    class Echo:
        def answer(self, frames: list[Frame]) -> Iterator[bytes]:
            asked.extend((frame.id, np.geterr()["over"]) for frame in frames)
            yield b"".join(frame.packed() for frame in frames)
            signal.raise_signal(signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as page, np.errstate(all="warn"):
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        page.connect(str(tmp_path / "socket"))
        page.sendall(Frame(1, {"what": "server"}).packed() + Frame(2, {"what": "server"}).packed())
        loop = _Loop(listening, Echo())  # type: ignore[arg-type]
        try:
            loop.run()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
        answered = Frames().take(page.recv(1 << 16))
        for connection in loop._connections.values():
            connection.peer.close()
    assert asked == [(1, "ignore"), (2, "ignore")]
    assert [frame.id for frame in answered] == [1, 2]


def test_a_page_that_is_gone_is_forgotten() -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        loop = _Loop(listening, None)  # type: ignore[arg-type]
        page, peer = socket.socketpair(socket.AF_UNIX)
        connection = loop._connections[peer.fileno()] = _Connection(peer)
        loop._poll.register(peer, select.POLLIN)
        page.close()
        assert loop._read(connection) == []
        assert peer.fileno() == -1 and not loop._connections and not loop._poll.poll(0)


def test_a_body_of_nothing_but_bytes_is_the_one_input(answering: Answering, models: Home) -> None:
    found = only(answering, Frame(0, {"what": "infer", "model": "numbers", "json_bytes": 0}, X[:2].tobytes(), NOW_S))
    head = json.loads(found.body[: found.head["json_bytes"]])

    assert head["outputs"][0]["shape"] == [2, 2]
    assert predicted(models, "numbers", X[:2].astype(np.float64)).probabilities.tobytes() in found.body


# ---- refusals ----------------------------------------------------------------------------------------------

REST = (b"5", b".5", b"e5", b" 5")
"""What is no JSON behind a list, and would be behind a number."""

ONE = {"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"shape": [-1, 4]}, 400),
        ({"shape": [2, 4]}, 400),
        ({"shape": [1, 2**40]}, 413),
        ({"shape": [0, 2**70], "data": []}, 413),
        ({"shape": "x"}, 400),
        ({"shape": [True, 4]}, 400),
        ({"shape": [4]}, 422),
        ({"shape": [0, 4], "data": []}, 422),
        ({"data": "1234"}, 400),
        ({"data": [1, 2, 3, "4"]}, 400),
        ({"data": [1, 2, 3, True]}, 400),
        ({"data": [[[[[[[[[1, 2, 3, 4]]]]]]]]]}, 400),
        ({"data": {"a": 1}}, 400),
        ({"datatype": "FP16"}, 400),
        ({"datatype": "FP128"}, 400),
        ({"datatype": "BYTES", "data": ["a", "b", "c", "d"]}, 422),
        ({"datatype": "UINT8", "data": [1, 2, 3, 400]}, 400),
        ({"name": "other"}, 422),
        ({"data": [1, 2, 3, None]}, 422),
        ({"data": [1e300, 2, 3, 4], "datatype": "FP64"}, 422),
        ({"parameters": {"binary_data_size": 10**9}}, 400),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(
    answering: Answering, change: Mapping[str, Any], status: int
) -> None:
    found = only(answering, infer("numbers", {"inputs": [{**ONE, **change}]}))

    assert found.head["status"] == status, found.head
    assert status == 200 or found.head["error"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[1,2,3,4],"inputs":[{"name":"input","datatype":"FP32","shape":[1,4]}]}',
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"inputs": {}}',
        b"\xff",
        b'{"inputs": [1]}',
        *(b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]%b}]}' % rest for rest in REST),
    ],
)
def test_a_body_that_is_no_request_is_refused(answering: Answering, body: bytes) -> None:
    assert only(answering, Frame(0, {"what": "infer", "model": "numbers"}, body, NOW_S)).head["status"] == 400


def test_a_bad_row_fails_alone(answering: Answering) -> None:
    bad = {"inputs": [{**ONE, "data": [1, 2, 3, None]}]}
    frames = [infer("numbers", rows(X[n : n + 1]) if n != 3 else bad, identity=n) for n in range(6)]
    statuses = {frame.id: frame.head["status"] for frame in all_of(answering, frames)}

    assert statuses == {n: 422 if n == 3 else 200 for n in range(6)}


def test_a_request_whose_time_is_over_is_not_computed(answering: Answering) -> None:
    assert only(answering, infer("numbers", rows(X[:1]), at_s=NOW_S - 31)).head["status"] == 504
    timeout = rows(X[:1], parameters={"timeout": 1_000_000})
    assert only(answering, infer("numbers", timeout, at_s=98.0)).head["status"] == 504
    assert only(answering, infer("numbers", timeout, at_s=99.5)).head["status"] == 200


@pytest.mark.parametrize(("model", "version"), [("none", None), ("numbers", "7")])
def test_a_model_that_is_not_there_is_404(answering: Answering, model: str, version: str | None) -> None:
    assert only(answering, infer(model, rows(X[:1]), version=version)).head["status"] == 404


# ---- models ------------------------------------------------------------------------------------------------


def test_the_metadata_says_what_goes_in_and_out(answering: Answering) -> None:
    def told(model: str) -> Any:
        return json.loads(only(answering, Frame(0, {"what": "metadata", "model": model}, b"", NOW_S)).body)

    assert told("numbers")["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    assert [one["name"] for one in told("numbers")["outputs"]] == ["probabilities", "label"]
    assert [(one["name"], one["datatype"]) for one in told("mixed")["inputs"]] == [("a", "FP64"), ("city", "BYTES")]
    assert told("values")["outputs"][0]["shape"] == [-1, 1]


def test_a_newer_version_takes_over_and_nobody_waits_for_it(models: Home, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    shutil.copytree(models.models / "numbers", home.models / "numbers")
    shelf = Shelf(home)
    assert shelf.get("numbers").version == 1
    shutil.copytree(home.models / "numbers" / "1", home.models / "numbers" / "2")
    shelf.look()
    assert shelf.get("numbers").version == 1  # the newer one is being loaded
    shelf._loader.submit(lambda: None).result(30)
    assert shelf.get("numbers").version == 2
    assert shelf.get("numbers", 1).version == 1


def test_a_version_that_was_removed_answers_no_more_and_the_one_before_does(models: Home, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    for number in ("1", "2"):
        shutil.copytree(models.models / "numbers" / "1", home.models / "numbers" / number)
    shelf = Shelf(home)
    assert shelf.get("numbers").version == 2

    registry.remove(home.models / "numbers" / "2")
    shelf.look()
    with pytest.raises(Refused, match="no such model"):
        shelf.get("numbers", 2)
    assert shelf.get("numbers").version == 1

    registry.remove(home.models / "numbers" / "1")
    shelf.look()
    with pytest.raises(Refused, match="no such model"):
        shelf.get("numbers")
    assert not shelf.is_loaded("numbers", 1)


def test_a_removed_model_is_gone_two_milliseconds_later_and_a_new_one_is_there_at_once(
    models: Home, tmp_path: Path
) -> None:
    home = open_home(tmp_path / "home")
    now_s = [NOW_S]
    answering = Answering(Shelf(home), clock=lambda: now_s[0])
    asked = infer("numbers", rows(X[:1]))
    assert only(answering, asked).head["status"] == 404
    shutil.copytree(models.models / "numbers", home.models / "numbers")
    assert only(answering, asked).head["status"] == 200

    registry.remove(home.models / "numbers" / "1")
    now_s[0] += 1.01 * LOOK_S
    assert only(answering, asked).head["status"] == 404


def test_a_disk_that_fails_puts_no_model_away(models: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(models)
    shelf.get("numbers")

    def fails(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(shelf_module.os, "stat", fails)
        shelf.look()
        assert shelf.get("numbers").version == shelf.get("numbers", 1).version == 1
    shelf.look()
    assert shelf.get("numbers").version == 1


def test_models_make_room_for_each_other(models: Home) -> None:
    shelf = Shelf(models, lambda: 1)
    shelf.get("numbers")
    shelf.get("values")

    assert (shelf.is_loaded("numbers", 1), shelf.is_loaded("values", 1)) == (False, True)


def test_a_model_counts_with_what_it_works_in(models: Home) -> None:
    loaded = Shelf(models).get("numbers")
    warm = loaded.bytes
    loaded.predictor.predict(np.zeros((200, 4), np.float32))

    assert loaded.file_bytes < warm < loaded.bytes


def test_models_take_a_quarter_of_the_memory_budget_shared_by_the_processes(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    assert budgeted_bytes(home) == MEMORY_BYTES
    budget = Resources(cpu_millis=2000, memory_bytes=8 << 30)
    publish_capacity(home, Capacity(budget, Resources(), (0, 1), this_process(), 0.0))
    (home.path / "settings.toml").write_text("[http]\nprocesses = 2\n")

    assert budgeted_bytes(home) == 1 << 30


def test_a_damaged_model_is_refused_and_the_others_answer(models: Home, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    shutil.copytree(models.models, home.models, dirs_exist_ok=True)
    (home.models / "values" / "1" / "model.safetensors").write_bytes(b"x")
    shelf = Shelf(home)
    with pytest.raises(Refused) as refused:
        shelf.get("values")

    assert refused.value.status == 422
    assert shelf.get("numbers")


# ---- MLflow ------------------------------------------------------------------------------------------------


def invoke(answering: Answering, body: Any, media_type: str = "application/json") -> Frame:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return only(answering, Frame(0, {"what": "invocations", "media_type": media_type}, content, time.monotonic()))


@pytest.fixture
def one_model(models: Home, tmp_path: Path) -> Answering:
    home = open_home(tmp_path / "home")
    shutil.copytree(models.models / "mixed", home.models / "mixed")
    return Answering(Shelf(home))


def test_every_form_of_a_table_gives_the_same_predictions(one_model: Answering) -> None:
    data = [[0.5, "Rome"], [-0.5, "Oslo"]]
    forms = [
        {"dataframe_split": {"columns": ["a", "city"], "data": data}},
        {"dataframe_split": {"columns": ["city", "a"], "index": [0, 1], "data": [[c, a] for a, c in data]}},
        {"dataframe_records": [{"a": a, "city": c} for a, c in data], "params": {}},
        {"instances": [{"a": a, "city": c} for a, c in data]},
        {"inputs": {"a": [0.5, -0.5], "city": ["Rome", "Oslo"]}},
    ]
    answers = [invoke(one_model, form).body for form in forms]
    answers.append(invoke(one_model, b"a,city\n0.5,Rome\n-0.5,Oslo\n", "text/csv").body)

    assert len(set(answers)) == 1
    assert len(json.loads(answers[0])["predictions"]) == 2


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        ({"instances": [[1]], "inputs": [[1]]}, "application/json", 400),
        ({"rows": []}, "application/json", 400),
        ({"instances": []}, "application/json", 400),
        ({"dataframe_records": [{"a": 1}]}, "application/json", 422),
        ({"dataframe_records": [{"a": [1], "city": "Rome"}]}, "application/json", 422),
        (b"a,city\n1\n", "text/csv", 400),
        (b"", "text/csv", 400),
        (b"\x80\x04", "application/python-pickle", 415),
    ],
)
def test_a_table_that_is_none_is_refused(one_model: Answering, body: Any, media_type: str, status: int) -> None:
    assert invoke(one_model, body, media_type).head["status"] == status


def test_with_several_models_it_is_not_clear_which_is_meant(answering: Answering) -> None:
    assert invoke(answering, {"instances": [[1, 2, 3, 4]]}).head["status"] == 409


# ---- frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_frames_are_whole_however_they_come(size: int) -> None:
    sent = [Frame(n, {"of": n % 2}, bytes(range(n)), 0.5 * n) for n in range(5)]
    content = b"".join(frame.packed() for frame in sent)
    frames, found = Frames(), []
    for start in range(0, len(content), size):
        found += frames.take(content[start : start + size])

    assert found == sent


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="none of ours"):
        Frames().take(b"\xff" * 24)


# ---- what a file would mean by the same cells ---------------------------------------------------------------


@pytest.fixture(scope="module")
def by_file(tmp_path_factory: pytest.TempPathFactory) -> Answering:
    """mixed: as if trained on a file in which -999 and "?" mean "no value"."""
    home = open_home(tmp_path_factory.mktemp("by_file") / "home")
    filled = {"normalise": "standard", "impute": "median"}
    learned = Model(hidden=[8], preprocessing=filled).fit({"a": X[:, 0], "city": CITIES}, LABELS, epochs=3).trained
    told = learned.preprocessor.model_copy(update={"missing": ("", "-999", "?")})  # type: ignore[union-attr]
    (home.models / "mixed/1").mkdir(parents=True)
    files.save(replace(learned, preprocessor=told), home.models / "mixed/1")
    return Answering(Shelf(home), clock=lambda: NOW_S)


def test_what_means_no_value_in_files_means_none_here(by_file: Answering) -> None:
    gap = {"a": None, "city": None}
    meant = {"a": -999, "city": "?"}
    expected = invoke(by_file, {"dataframe_records": [gap]}).body
    assert invoke(by_file, {"dataframe_records": [meant]}).body == expected
    assert invoke(by_file, b"a,city\n-999,?\n", "text/csv").body == expected

    def tensors(a: float | None, city: str) -> dict[str, Any]:
        number = {"name": "a", "datatype": "FP64", "shape": [1], "data": [a]}
        return {"inputs": [number, {"name": "city", "datatype": "BYTES", "shape": [1], "data": [city]}]}

    assert outputs(only(by_file, infer("mixed", tensors(-999.0, "?")))) == outputs(
        only(by_file, infer("mixed", tensors(None, "")))
    )


@pytest.mark.parametrize("cell", ["1_000", "１２", "0x10", "1 000"])
def test_what_is_no_number_in_a_file_is_none_in_csv(by_file: Answering, cell: str) -> None:
    assert invoke(by_file, f"a,city\n{cell},Rome\n".encode(), "text/csv").head["status"] == 422


def test_a_truth_value_in_csv_is_the_number_that_it_is_in_a_file(by_file: Answering) -> None:
    one, true = (invoke(by_file, f"a,city\n{cell},Rome\n".encode(), "text/csv") for cell in ("1", "TRUE"))
    assert one.head["status"] == 200 and one.body == true.body


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"a,city,a\n1,Rome,2\n", "text/csv"),
        (b'{"inputs": {"a": [1], "city": ["Rome"], "a": [2]}}', "application/json"),
        (b'{"dataframe_records": [{"a": 1, "city": "Rome", "a": 2}]}', "application/json"),
        (b'{"dataframe_split": {"columns": ["a", "city", "a"], "data": [[1, "Rome", 2]]}}', "application/json"),
    ],
)
def test_two_columns_of_one_name_are_refused(by_file: Answering, body: bytes, media_type: str) -> None:
    refused = invoke(by_file, body, media_type)
    assert refused.head["status"] == 400
    assert "twice" in refused.head["error"] or "same name" in refused.head["error"]


def test_a_whole_number_beyond_every_float_is_refused_and_no_defect(by_file: Answering) -> None:
    refused = invoke(by_file, {"dataframe_records": [{"a": 10**400, "city": "Rome"}]})
    assert refused.head["status"] == 422 and "infinite or too large" in refused.head["error"]


def test_rows_keep_the_type_of_a_category_and_are_not_cut(tmp_path: Path) -> None:
    home, table = open_home(tmp_path / "home"), {"b": [True, False] * 20, "a": [0.5, 1.5] * 20}
    model = Model(hidden=[8], learning_rate=0.05, preprocessing={"categorical": ["b"], "normalise": "standard"})
    (home.models / "m/1").mkdir(parents=True)
    files.save(model.fit(table, table["b"], epochs=20).trained, home.models / "m/1")
    answering = Answering(Shelf(home))
    named = invoke(answering, {"inputs": {"b": [True, False], "a": [1.0, 1.0]}}).body
    assert invoke(answering, {"inputs": [[True, 1.0], [False, 1.0]]}).body == named
    assert invoke(answering, {"inputs": [[True, 1.0, 7.0]]}).head["status"] == 422
    assert invoke(answering, {"inputs": [[True, "1_000"]]}).head["status"] == 400
