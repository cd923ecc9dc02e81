"""The interface: what it answers, and that each thing it does is what the command line does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from singlepoint.jobs.clock import now, seconds
from singlepoint.jobs.host.capacity import Capacity, publish_capacity
from singlepoint.jobs.host.processes import this_process
from singlepoint.jobs.lifecycle.flow import Flow, standing
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.page import predictions
from singlepoint.jobs.page.api.curves import Curve
from singlepoint.jobs.page.api.jobs import log_piece
from singlepoint.jobs.page.api.openapi import document
from singlepoint.jobs.page.app import OPERATIONS, PATTERNS, PLAIN
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.rings import RINGS_OF_A_JOB, Rings
from singlepoint.jobs.store.settings import Http
from tests.conftest import accept
from tests.jobs.page.client import Client, Serve

JSON = "application/json"


def training(home: Home, **changes: Any) -> dict[str, Any]:
    """A spec whose data was uploaded."""
    (home.uploads / "a2345678").mkdir(parents=True, exist_ok=True)
    (home.uploads / "a2345678" / "x.csv").write_text("a,b\n1,2\n")
    return {"name": "t", "data": {"path": "a2345678/x.csv", "target": "b"}, "model": {"hidden": [4]}, **changes}


# ---- lists -------------------------------------------------------------------------------------------------


def test_the_list_has_ended_jobs_too_newest_first_a_page_at_a_time(client: Client, store: JobStore) -> None:
    ids = [accept(store, at=1000.0 + n, name=f"job-{n % 2}").id for n in range(5)]
    store.move(ids[1], Event.CANCEL, 2000.0)
    first = client("GET", "/api/v1/jobs?limit=2").json
    accept(store, at=5000.0)  # one that comes in between moves no other
    second = client("GET", f"/api/v1/jobs?limit=2&cursor={first['next']}").json
    third = client("GET", f"/api/v1/jobs?limit=2&cursor={second['next']}").json

    assert [row["id"] for page in (first, second, third) for row in page["jobs"]] == ids[::-1]
    assert (first["schema"], first["total"], third["next"]) == (1, 5, None)
    assert first["counts"]["cancelled"] == 1


def test_the_list_is_filtered(client: Client, store: JobStore) -> None:
    one = accept(store, name="wdbc-1").id
    accept(store, name="other", kind="predict")

    def found(query: str) -> list[str]:
        return [row["id"] for row in client("GET", f"/api/v1/jobs?{query}").json["jobs"]]

    assert found("name=wdbc-*") == [one]
    assert found("kind=train&state=pending") == [one]
    assert found("state=failed") == []
    assert client("GET", "/api/v1/jobs?state=nearly").json["problems"][0]["field"] == "state"
    assert client("GET", "/api/v1/jobs?nmae=x").json["problems"][0]["hint"] == "did you mean name?"
    assert client("GET", "/api/v1/jobs?limit=1&limit=2").status == 422


def test_a_job_is_named_as_on_the_command_line(client: Client, store: JobStore) -> None:
    job = accept(store, name="wdbc")

    for word in (job.id, job.id[:4], "wdbc", "last"):
        assert client("GET", f"/api/v1/jobs/{word}").json["id"] == job.id
    missing = client("GET", "/api/v1/jobs/nothing")
    assert (missing.status, missing.json["detail"], missing.json["exit_code"]) == (404, "no job nothing", 66)
    assert missing.headers["content-type"] == "application/problem+json"


# ---- submit ------------------------------------------------------------------------------------------------


def test_a_job_is_kept_and_the_answer_says_where(client: Client, home: Home, store: JobStore) -> None:
    answer = client("POST", "/api/v1/jobs", training(home))

    job = store.load(answer.json["id"])
    assert (answer.status, answer.headers["location"]) == (201, f"/api/v1/jobs/{job.id}")
    assert job.state is State.PENDING
    assert json.loads(store.spec(job.id))["data"]["path"] == str(home.uploads / "a2345678" / "x.csv")


def test_a_dry_run_keeps_nothing(client: Client, home: Home, store: JobStore) -> None:
    answer = client("POST", "/api/v1/jobs?dry_run=true", training(home))

    assert (answer.status, answer.json["spec"]["name"], store.ids()) == (200, "t", [])


def test_every_problem_of_a_spec_is_told_in_the_words_of_the_command_line(client: Client, home: Home) -> None:
    answer = client("POST", "/api/v1/jobs", training(home, priority="high", training={"epcohs": 5}))

    assert (answer.status, answer.json["exit_code"]) == (422, 65)
    assert {one["field"]: one["hint"] for one in answer.json["problems"]} == {
        "priority": "",
        "training.epcohs": "did you mean epochs?",
    }


def test_a_key_makes_one_job_however_often_it_is_sent(client: Client, home: Home, store: JobStore) -> None:
    answers = [client("POST", "/api/v1/jobs", training(home), idempotency_key="k1") for _ in range(3)]

    assert [answer.status for answer in answers] == [201, 200, 200]
    assert len({answer.json["id"] for answer in answers}) == len(store.ids()) == 1
    other = client("POST", "/api/v1/jobs", training(home, name="u"), idempotency_key="k1")
    assert (other.status, other.json["problems"][0]["field"]) == (422, "Idempotency-Key")
    assert client("POST", "/api/v1/jobs", training(home), idempotency_key="k2").status == 201


@pytest.mark.parametrize("path", ["/etc/passwd", "../home.json", "a2345678/../../home.json", "~/x.csv", "link.csv"])
def test_what_a_job_reads_lies_where_it_may(client: Client, home: Home, path: str) -> None:
    spec = training(home, data={"path": path, "target": "b"})
    (home.uploads / "link.csv").symlink_to("/etc/passwd")
    answer = client("POST", "/api/v1/jobs", spec)

    assert (answer.status, answer.json["problems"][0]["field"]) == (422, "data.path")
    assert "nobody may point" in answer.json["problems"][0]["message"]


def test_each_of_several_files_lies_where_it_may(client: Client, home: Home) -> None:
    spec = training(home)
    own = spec["data"]["path"]
    answer = client("POST", "/api/v1/jobs", {**spec, "data": {**spec["data"], "path": [own, "/etc/passwd"]}})

    assert (answer.status, answer.json["problems"][0]["field"]) == (422, "data.path[1]")
    assert "nobody may point" in answer.json["problems"][0]["message"]


def test_what_a_job_writes_lies_where_it_may(client: Client, home: Home, tmp_path: Path) -> None:
    def answer(output: str, model: str = "wdbc") -> Any:
        spec = {"kind": "predict", "name": "p", "model": model, "input": "a2345678/x.csv", "output": output}
        return client("POST", "/api/v1/jobs", spec).json

    training(home)
    for output in ("/tmp/x.csv", "../jobs/x.csv", str(home.path / "home.json")):
        assert answer(output)["problems"][0]["field"] == "output"
    assert answer("x.csv")["detail"] == "no model wdbc"
    assert answer("x.csv", str(tmp_path))["problems"][0]["field"] == "model"


def test_the_owner_adds_roots(serve: Serve, home: Home, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("a,b\n1,2\n")
    client = serve(Http(roots=(str(tmp_path / "data"),)))

    spec = training(home, data={"path": str(tmp_path / "data" / "x.csv"), "target": "b"})
    assert client("POST", "/api/v1/jobs", spec).status == 201


def test_a_command_is_taken_only_where_the_owner_says_so(client: Client) -> None:
    answer = client("POST", "/api/v1/jobs", {"kind": "run", "command": ["true"]})

    assert (answer.status, answer.json["exit_code"]) == (403, 77)


def test_the_output_of_a_command_lies_with_the_others(serve: Serve, home: Home, tmp_path: Path) -> None:
    client = serve(Http(commands=True))
    spec = {"kind": "run", "command": ["true"], "output": "results"}

    assert client("POST", "/api/v1/jobs", spec).json["spec"]["output"] == str(home.outputs / "results")
    elsewhere = client("POST", "/api/v1/jobs", {**spec, "output": str(tmp_path / "results")}).json
    assert [one["field"] for one in elsewhere["problems"]] == ["output"]


# ---- control -----------------------------------------------------------------------------------------------


def test_what_is_asked_of_a_job_is_written_into_its_history(client: Client, store: JobStore) -> None:
    job = accept(store)
    path = f"/api/v1/jobs/{job.id}"

    assert client("PUT", f"{path}/priority", {"priority": 7}).json["priority"] == 7
    assert client("POST", f"{path}/pause").json["held"] is True
    assert client("POST", f"{path}/resume").json["held"] is False
    assert client("POST", f"{path}/cancel").json["state"] == "cancelled"
    assert client("POST", f"{path}/retry").json["state"] == "pending"
    assert client("POST", f"{path}/cancel").json["state"] == "cancelled"
    assert client("POST", f"{path}/retry", {"fresh": True}).json["state"] == "pending"
    refused = client("POST", f"{path}/retry")
    assert (refused.status, refused.json["exit_code"]) == (409, 75)
    told = [line["event"] for line in client("GET", path).json["history"]]
    assert told == ["accept", "prioritise", "hold", "resume", "cancel", "retry", "cancel", "retry"]


def test_a_job_is_removed_once_it_has_ended_or_by_force(client: Client, store: JobStore) -> None:
    job = accept(store)

    assert client("DELETE", f"/api/v1/jobs/{job.id}").status == 409
    assert client("DELETE", f"/api/v1/jobs/{job.id}?force=true").json["removed"] is True
    assert store.ids() == []


def test_a_job_that_another_needs_stays(client: Client, store: JobStore) -> None:
    first = accept(store)
    accept(store, after=[first.id])
    store.move(first.id, Event.CANCEL, now())

    assert "waits for" in client("DELETE", f"/api/v1/jobs/{first.id}").json["detail"]


def test_old_jobs_are_pruned(client: Client, store: JobStore) -> None:
    old, new = accept(store, at=1.0).id, accept(store).id
    store.move(old, Event.CANCEL, 2.0)

    assert client("POST", "/api/v1/jobs/prune", {"dry_run": True}).json["ids"] == [old]
    assert client("POST", "/api/v1/jobs/prune", {}).json["ids"] == [old]
    assert store.ids() == [new]


def test_the_home_is_drained_and_no_longer(client: Client) -> None:
    assert client("PUT", "/api/v1/machine/draining", {"draining": True}).json["draining_since"] is not None
    assert client("PUT", "/api/v1/machine/draining", {"draining": False}).json["draining_since"] is None
    assert client("PUT", "/api/v1/machine/draining", {"draining": "yes"}).status == 422
    planned = client("PUT", "/api/v1/machine/draining", {"draining": True, "until": "+2h", "for_s": 3600}).json
    begins_at, ends_at = (seconds(planned["drain"][name]) for name in ("begins_at", "ends_at"))
    assert planned["draining_since"] is None and ends_at - begins_at == pytest.approx(3600)
    assert client("PUT", "/api/v1/machine/draining", {"draining": True, "until": "soon"}).status == 422
    for_ever = client("PUT", "/api/v1/machine/draining", {"draining": True, "for_s": 4.5e16})
    assert (for_ever.status, for_ever.json["problems"][0]["field"]) == (422, "for_s")


def test_utilisation_is_told_over_time_with_the_account_of_core_seconds(client: Client, home: Home) -> None:
    rings, budget, at = Rings(home.utilisation), Resources(cpu_millis=2000, memory_bytes=2**30), now()
    for second in range(20):
        rings.add(at - second, standing(budget, Resources(cpu_millis=1000), 1.0))
    told = client("GET", "/api/v1/utilisation?span_s=60").json

    assert set(told["shares"]) == {"cpu_millis", "memory_bytes"}
    assert set(told["shares"]["cpu_millis"]["reserved"]) == {0.5}
    assert len(told["at"]) == len(told["shares"]["cpu_millis"]["used"]) == 20
    assert told["account"]["capacity_core_s"] == told["account"]["idle_core_s"] == 40
    for span in ("0", "5e-324"):
        assert client("GET", f"/api/v1/utilisation?span_s={span}").status == 422


def test_what_is_counted_is_told_wherever_cores_and_memory_are(client: Client, store: JobStore) -> None:
    budget, granted = (Resources(cpu_millis=2000, memory_bytes=2**30, counted=(("gpu", n),)) for n in (4, 1))
    publish_capacity(store.home, Capacity(budget, Resources(), (0, 1), this_process(), now()))
    Rings(store.home.utilisation).add(now(), standing(budget, granted, 1.0))
    machine, told = client("GET", "/api/v1/machine").json, client("GET", "/api/v1/utilisation?span_s=60").json

    assert machine["budget"]["counted"] == {"gpu": 4}
    assert told["shares"]["gpu"] == {"reserved": [0.25]}
    assert 'singlepoint_budget_reserved_ratio{resource="gpu"} 0.0' in client("GET", "/metrics").body.decode()


def test_what_a_job_used_of_what_it_was_granted_is_told_over_time(client: Client, store: JobStore) -> None:
    job = accept(store)
    granted = Resources(cpu_millis=1000, memory_bytes=2**30)
    assert client("GET", f"/api/v1/jobs/{job.id}/utilisation").json["shares"] == {}
    rings, at = Rings(store.home.job_files(job.id).utilisation, RINGS_OF_A_JOB), now()
    for second in range(20):
        flow = standing(granted, granted, 1.0) + Flow(used=(900.0, 2.0**28, 0.0, 0.0))
        rings.add(at - second, flow)
    told = client("GET", f"/api/v1/jobs/{job.id}/utilisation?span_s=60").json
    assert set(told["shares"]["cpu_millis"]["used"]) == {0.9} and set(told["shares"]["memory_bytes"]["used"]) == {0.25}
    assert client("GET", "/api/v1/jobs/nobody/utilisation").status == 404


# ---- what a job says ---------------------------------------------------------------------------------------


def test_a_log_is_read_in_pieces_and_no_character_is_cut(client: Client, store: JobStore, home: Home) -> None:
    job = accept(store)
    (home.job(job.id) / "log.txt").write_text("grün €\nline\n")
    path = f"/api/v1/jobs/{job.id}/log"

    begin = client("GET", f"{path}?limit=3").json
    assert (begin["text"], begin["next"], begin["bytes"]) == ("gr", 2, 15)
    assert client("GET", f"{path}?offset=2").json["text"] == "ün €\nline\n"
    assert client("GET", f"{path}?offset=-5").json["text"] == "line\n"
    assert client("GET", f"{path}?offset=999").json["next"] == 15


@pytest.mark.parametrize("size", range(1, 12))
def test_pieces_of_any_size_make_the_whole_log(tmp_path: Path, size: int) -> None:
    text = "aé€😀b" * 3 + "\n"
    (tmp_path / "log.txt").write_text(text)
    found, offset = "", 0
    for _ in range(200):
        piece, _, offset, whole = log_piece(tmp_path / "log.txt", offset, max(size, 4))
        found += piece

    assert found == text
    assert offset == whole


def test_curves_are_read_on_and_anew_when_the_file_is_another(tmp_path: Path) -> None:
    path, curve = tmp_path / "metrics.jsonl", Curve()

    def told() -> Any:
        curve.read_on(path)
        return curve.thinned(0, 1000)

    assert told() == {"epoch": []}
    path.write_text('{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "loss": NaN, "accuracy": 0.5}\n{"epoch": 3')
    assert told() == {"epoch": [1, 2], "loss": [2, None], "accuracy": [None, 0.5]}
    with open(path, "a") as file:
        file.write(', "loss": 1.0}\nrubbish\n{"epoch": "x"}\n')
    assert told()["loss"] == [2, None, 1]
    assert curve.thinned(2, 1000)["epoch"] == [3]
    path.unlink()
    path.write_text('{"epoch": 1, "loss": 9.0}\n')
    assert told() == {"epoch": [1], "loss": [9]}


def test_a_long_curve_is_thinned_and_keeps_its_peaks(tmp_path: Path) -> None:
    path, curve = tmp_path / "metrics.jsonl", Curve()
    path.write_text("".join(f'{{"epoch": {n}, "loss": {1000.0 if n == 777 else 1.0}}}\n' for n in range(1, 20_001)))
    curve.read_on(path)
    columns = curve.thinned(0, 500)

    assert len(columns["epoch"]) <= 760
    assert (columns["epoch"][0], columns["epoch"][-1]) == (1, 20_000)
    assert columns["loss"][columns["epoch"].index(777)] == 1000.0


# ---- uploads -----------------------------------------------------------------------------------------------


def test_a_file_is_announced_and_sent_with_its_ticket(client: Client, home: Home) -> None:
    there = client("POST", "/api/v1/uploads", {"name": "x.csv"}).json
    content = b"a,b\n" + b"1,2\n" * 500_000
    ticket = f"Bearer {there['ticket']}"
    sent = client("PUT", there["url"], body=content, authorization=ticket)

    assert (sent.status, sent.json["bytes"], sent.json["path"]) == (201, len(content), there["path"])
    assert (home.uploads / there["path"]).read_bytes() == content
    assert (home.uploads / there["path"]).stat().st_mode & 0o077 == 0
    assert client("PUT", there["url"], body=b"x").status == 409
    assert client("GET", "/api/v1/jobs", authorization=ticket).status == 401
    other = client("POST", "/api/v1/uploads", {"name": "y.csv"}).json
    assert client("PUT", other["url"], body=b"x", authorization=ticket).status == 401
    assert client("DELETE", f"/api/v1/uploads/{there['id']}").json["removed"] is True


def test_a_file_that_is_too_large_leaves_nothing(serve: Serve, home: Home) -> None:
    client = serve(Http(upload=1000))
    there = client("POST", "/api/v1/uploads", {"name": "x.csv"}).json

    assert client("PUT", there["url"], body=b"x" * 200_000).status == 413
    assert list((home.uploads / there["id"]).iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x" * 129, "a\u202eb.csv", "x\n"])
def test_a_name_that_is_no_file_name_is_refused(client: Client, name: str) -> None:
    assert client("POST", "/api/v1/uploads", {"name": name}).status in (400, 422)


# ---- the document ------------------------------------------------------------------------------------------


def test_the_openapi_document_has_every_operation_with_its_own_name() -> None:
    told = document(OPERATIONS, PATTERNS)
    operations = [one for path in told["paths"].values() for one in path.values()]

    assert told["openapi"] == "3.1.0"
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["summary"].endswith(".") for one in operations)


FOR_PEOPLE = {("GET", "/"), ("GET", "/static/{file}"), ("GET", "/open"), ("POST", "/login")}


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    told = {(method.upper(), path) for path, one in document(OPERATIONS, PATTERNS)["paths"].items() for method in one}
    routes = {(one.method, f"/api/v1{one.path}") for one in OPERATIONS}
    routes |= {(method, path) for method, path, _ in PLAIN} | {("POST", path) for path in predictions.ROUTES}

    assert routes >= FOR_PEOPLE and told == routes - FOR_PEOPLE


def test_every_reference_in_the_openapi_document_leads_somewhere(client: Client) -> None:
    told = client("GET", "/api/v1/openapi.json").json

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            inner = [references(one) for one in value.values()]
            return set().union(*inner, {value["$ref"]} if isinstance(value.get("$ref"), str) else set())
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    known = {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    assert references(told) <= known


def test_metrics_have_a_bounded_set_of_labels(client: Client, store: JobStore) -> None:
    accept(store, name="hostile-name")
    for word in ("none-1", "none-2", "none-3"):  # no id begins so
        client("GET", f"/api/v1/jobs/{word}")
    client("BREW", "/api/v1/jobs")
    text = client("GET", "/metrics").body.decode()

    assert 'singlepoint_jobs{state="pending"} 1.0' in text
    assert 'singlepoint_http_requests_total{method="GET",route="/api/v1/jobs/{id}",status="404"} 3.0' in text
    assert "hostile-name" not in text
    assert "BREW" not in text


def test_without_redis_the_disk_is_told_and_nothing_is_accepted(
    client: Client, store: JobStore, home: Home, redis_behind: fakeredis.FakeServer
) -> None:
    job = accept(store)
    assert client("GET", "/v2/health/ready", authorization=None).json == {"ready": True}
    redis_behind.connected = False

    assert client("GET", "/v2/health/ready", authorization=None).status == 503
    told = client("GET", "/api/v1/jobs").json
    assert [row["id"] for row in told["jobs"]] == [job.id]
    assert told["complaint"] is not None
    away = client("POST", "/api/v1/jobs", training(home))
    assert (away.status, away.json["exit_code"], away.headers["retry-after"]) == (503, 69, "1")
    assert store.ids() == [job.id]
