"""What a person's word for a job or a model means."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from singlepoint.jobs.client.find import find_job, find_model
from singlepoint.jobs.errors import InvalidInput, NotFound, NotNow, UsageError
from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore

REQUESTS = Resources(cpu_millis=1000).to_json()


def job(store: JobStore, job_id: str, name: str = "job", kind: str = "train", at: float = 0.0, **facts: object) -> str:
    return store.create(b"{}", {"name": name, "kind": kind, "requests": REQUESTS, **facts}, at, job_id=job_id).id


def a_model(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "model.json").write_text("{}")
    return directory


def ran(store: JobStore, job_id: str, event: Event, **facts: object) -> None:
    store.move(job_id, Event.DISPATCH, 1.0, attempt=1, terms=Terms(Resources()).to_json())
    store.move(job_id, Event.CLAIM, 2.0, attempt=1)
    store.move(job_id, event, 3.0, attempt=1, **facts)


def test_a_job_is_known_by_its_id_its_beginning_its_name_and_as_the_last(store: JobStore) -> None:
    job(store, "abcd2345", "first")
    job(store, "abzz2345", "second", at=1.0)

    assert find_job(store, "abcd2345") == find_job(store, "abc") == find_job(store, "first") == "abcd2345"
    assert find_job(store, "last") == "abzz2345"


def test_a_word_that_begins_several_jobs_lists_them_and_none_is_chosen(store: JobStore) -> None:
    job(store, "abcd2345", "same")
    job(store, "abzz2345", "same")

    with pytest.raises(UsageError, match="abcd2345, abzz2345"):
        find_job(store, "ab")


def test_a_name_of_several_jobs_means_the_newest_and_says_so(store: JobStore, caplog: pytest.LogCaptureFixture) -> None:
    for age, job_id in enumerate(("abcd2345", "abzz2345", "abmm2345")):
        job(store, job_id, "same", at=100.0 - age)
    ran(store, "abcd2345", Event.SUCCEED)  # whether it has ended or not

    assert find_job(store, "same") == "abcd2345"
    assert "same: the newest of 3 jobs of that name, abcd2345" in caplog.text
    caplog.clear()
    assert [find_job(store, word) for word in ("same~0", "same~1", "same~2", "last~1")] == [
        "abcd2345",
        "abzz2345",
        "abmm2345",
        "abzz2345",
    ]
    assert not caplog.text
    with pytest.raises(NotFound, match="no same~3: there are only 3"):
        find_job(store, "same~3")


def test_a_name_is_not_silently_taken_for_the_beginning_of_another_jobs_id(store: JobStore) -> None:
    job(store, "wdbc2345", "other")
    job(store, "abzz2345", "wdbc")

    with pytest.raises(UsageError, match="it begins wdbc2345 and it is the name of abzz2345"):
        find_job(store, "wdbc")


def test_a_damaged_history_has_no_name_and_hides_no_other(store: JobStore) -> None:
    for job_id, content in (("abcd2345", b'"wdbc"\xff\n'), ("abce2345", b""), ("abcf2345", b'{"name":"wdbc"}')):
        (store.home.job(job(store, job_id)) / "history.jsonl").write_bytes(content)
    job(store, "abzz2345", "wdbc")

    assert find_job(store, "wdbc") == "abzz2345"


def test_a_job_is_found_by_its_name_though_nothing_but_the_beginnings_of_histories_is_read(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        job(store, f"abcd234{number}", f"job{number}")
    read: list[str] = []
    whole = JobStore.history
    monkeypatch.setattr(JobStore, "history", lambda store, job_id: (read.append(job_id), whole(store, job_id))[1])
    job(store, "abcd2350", "much-longer", after=["abcd2345"] * 500)

    assert find_job(store, "job7") == find_job(store, "abcd2347") == "abcd2347"
    assert set(read) == {"abcd2350"}  # whose first line alone is longer than all of the others


@pytest.mark.parametrize("word", ["nobody", "..", ".new-x"])
def test_a_job_that_is_not_there_is_not_found(store: JobStore, word: str) -> None:
    job(store, "abcd2345")

    with pytest.raises(NotFound):
        find_job(store, word)


def test_nothing_means_no_job_not_even_the_only_one(store: JobStore) -> None:
    with pytest.raises(NotFound, match="no job yet"):
        find_job(store, "last")
    job(store, "abcd2345")

    with pytest.raises(NotFound):  # a script whose variable is empty must not remove it
        find_job(store, "")


def test_a_model_is_its_newest_version_a_given_one_a_directory_or_its_file(store: JobStore, tmp_path: Path) -> None:
    for number in ("2", "10", "9"):
        a_model(store.home.models / "wdbc" / number)
    (store.home.models / "wdbc" / "11").mkdir()  # not finished: it has no model.json
    elsewhere = a_model(tmp_path / "elsewhere")

    assert find_model(store, "wdbc") == str(store.home.models / "wdbc" / "10")
    assert find_model(store, "wdbc/9") == str(store.home.models / "wdbc" / "9")
    assert find_model(store, str(elsewhere)) == find_model(store, str(elsewhere / "model.json")) == str(elsewhere)
    for word in ("absent", "wdbc/11", "wdbc/99", str(tmp_path / "absent"), "../models/wdbc"):
        with pytest.raises(NotFound, match="no model"):
            find_model(store, word)


def test_a_training_stands_for_its_model_and_for_itself_until_it_has_one(store: JobStore) -> None:
    job(store, "abcd2345", "trained")

    assert find_model(store, "trained") == "abcd2345"
    place = a_model(store.home.path / "elsewhere")
    ran(store, "abcd2345", Event.SUCCEED, result={"path": str(place)})
    assert find_model(store, "trained") == str(place)

    shutil.rmtree(place)
    with pytest.raises(NotFound, match="the model of job abcd2345 is no longer in"):
        find_model(store, "trained")


def test_a_job_that_made_no_model_is_refused_with_the_reason(store: JobStore) -> None:
    job(store, "abcd2345", "failed")
    job(store, "efgh2345", "scores", kind="predict")
    ran(store, "abcd2345", Event.FAIL)

    with pytest.raises(NotNow, match="failed"):
        find_model(store, "abcd2345")
    with pytest.raises(InvalidInput, match="no training"):
        find_model(store, "efgh2345")


def test_a_name_of_several_models_means_the_newest_and_says_so(
    store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = (a_model(store.home.models / "wdbc" / number) for number in ("9", "10"))

    assert find_model(store, "wdbc") == str(two)
    assert "wdbc: the newest of 2 models of that name, wdbc/10" in caplog.text
    assert find_model(store, "wdbc~1") == str(one)
    with pytest.raises(NotFound, match="no model wdbc~2"):
        find_model(store, "wdbc~2")
