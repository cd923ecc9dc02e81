"""`--server`: the commands and the Python client, of a machine elsewhere; with its words and its exit codes."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import singlepoint
from singlepoint.jobs.client import control, remote
from singlepoint.jobs.client.remote import Server
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import BrokerAway, NotPermitted, UsageError
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept
from tests.jobs.page.client import TOKEN, Client


@pytest.fixture
def there(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of the service; nothing of its home is known here."""
    monkeypatch.setenv("SINGLEPOINT_TOKEN", TOKEN)
    monkeypatch.setenv("SINGLEPOINT_HOME", str(tmp_path / "not-here"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wdbc.csv").write_bytes(resources.files("singlepoint.jobs.demo").joinpath("wdbc.csv").read_bytes())
    (tmp_path / "wdbc.toml").write_text(
        'kind = "train"\ndata = { path = "wdbc.csv", target = "diagnosis" }\nmodel = { hidden = [4] }\n'
    )
    return client.origin


def run(server: str, *words: str) -> Result:
    arguments = singlepoint.hoisted([*words, "--server", server])
    return CliRunner().invoke(singlepoint.front_door, arguments, standalone_mode=False)


def test_a_job_is_submitted_with_its_data(there: str, store: JobStore, home: Home) -> None:
    done = run(there, "submit", "train", "wdbc.toml", "-q")

    job = store.load(done.stdout.strip())
    path = Path(json.loads(store.spec(job.id))["data"]["path"])
    assert path.is_relative_to(home.uploads)
    assert path.read_bytes() == Path("wdbc.csv").read_bytes()
    assert not Path("not-here").exists()


def test_each_of_several_files_is_sent_once_and_named_there(
    there: str, store: JobStore, home: Home, tmp_path: Path
) -> None:
    rows = (tmp_path / "wdbc.csv").read_text().splitlines(keepends=True)
    (tmp_path / "one.csv").write_text("".join(rows[:300]))
    (tmp_path / "two.csv").write_text("".join(rows[:1] + rows[300:]))
    files = ["one.csv", "two.csv"]

    done = run(there, "submit", "train", "wdbc.toml", "--set", f"data.path={json.dumps(files)}", "-q")

    paths = json.loads(store.spec(done.stdout.strip()))["data"]["path"]
    assert [Path(path).read_bytes() for path in paths] == [Path(name).read_bytes() for name in files]
    assert all(Path(path).is_relative_to(home.uploads) for path in paths)


def test_an_array_of_an_archive_is_named_there_too(there: str, store: JobStore, home: Home, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", a=np.arange(80.0).reshape(40, 2), b=np.arange(40) % 2)
    data = {"path": "m.npz[a]", "target_path": "m.npz[b]"}

    job = singlepoint.submit({"kind": "train", "name": "m", "data": data, "model": {"hidden": [2]}}, server=there)

    kept = json.loads(store.spec(job))["data"]
    assert kept["path"].removesuffix("[a]") == kept["target_path"].removesuffix("[b]")
    assert len(list(home.uploads.rglob("m.npz"))) == 1


def test_a_job_is_submitted_from_python(there: str, store: JobStore) -> None:
    assert store.load(singlepoint.submit("wdbc.toml", server=there)).name == "wdbc"


def test_a_dry_run_keeps_nothing_there(there: str, store: JobStore) -> None:
    done = run(there, "submit", "train", "wdbc.toml", "--dry-run")

    assert json.loads(done.stdout)["spec"]["name"] == "wdbc"
    assert done.stderr.splitlines()[0] == "data: as it stands"
    assert store.ids() == []


def test_jobs_are_listed_shown_and_controlled(there: str, store: JobStore, home: Home) -> None:
    job = accept(store, name="wdbc")
    (home.job(job.id) / "log.txt").write_text("hello\n")

    assert job.id in run(there, "ps").stdout
    assert json.loads(run(there, "ps", "--json").stdout)["jobs"][0]["id"] == job.id
    assert "wdbc" in run(there, "show", "last").stdout
    assert json.loads(run(there, "show", job.id, "--json").stdout)["name"] == "wdbc"
    assert run(there, "logs", "wdbc").stdout == "hello\n"
    assert run(there, "priority", job.id, "-5").stdout == f"{job.id} has priority -5\n"
    assert store.load(job.id).priority == -5
    assert run(there, "explain", job.id).stdout
    assert json.loads(run(there, "eta", job.id, "--json").stdout)["state"] == "pending"
    assert json.loads(run(there, "eta", "--json").stdout)["jobs"][0]["id"] == job.id
    assert run(there, "pause", job.id).stdout == f"{job.id} held back\n"
    assert run(there, "resume", job.id).stdout == f"{job.id} goes on when there is room\n"
    assert run(there, "cancel", job.id).stdout == f"{job.id} cancelled\n"
    assert store.load(job.id).state is State.CANCELLED
    assert run(there, "logs", "-f", job.id).return_value == 130
    assert run(there, "wait", job.id).return_value == 1
    assert run(there, "retry", job.id).stdout == f"{job.id} pending\n"
    assert run(there, "rm", "--force", job.id).stdout == f"{job.id} removed\n"
    assert store.ids() == []


def test_lists_and_choices_have_the_words_they_have_here(
    there: str, store: JobStore, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAGE", 2)  # so that a list takes several
    ids = [accept(store, name=name, at=float(at)).id for at, name in enumerate(("a1", "b1", "a2", "b2"), 1)]
    store.move(ids[0], Event.CANCEL, now())
    control.pause(session, ids[1], now())

    def listed(*words: str) -> list[str]:
        return [row["id"] for row in json.loads(run(there, "ps", "--json", *words).stdout)["jobs"]]

    assert listed() == [ids[3], ids[2], ids[1]], "one that is held goes on, too"
    assert {row["id"] for row in json.loads(run(there, "eta", "--json").stdout)["jobs"]} == set(ids[1:])
    assert listed("-a") == ids[::-1]
    assert listed("-a", "--limit", "3") == [ids[3], ids[2], ids[1]]
    assert listed("-a", "--sort", "name", "--limit", "2") == [ids[0], ids[2]]
    assert listed("--status", "cancelled") == [ids[0]]
    assert listed("--status", "paused,cancelled") == [ids[1], ids[0]]
    assert listed("-a", "--name", "a*", "--project", "none") == []
    assert run(there, "cancel", "--name", "b*", "--dry-run").stdout.split() == [ids[1], ids[3]]
    assert run(there, "resume", "--all").stdout == f"{ids[1]} goes on when there is room\n"
    assert "cancelled" in run(there, "cancel", "--status", "waiting", "--name", "a*").stdout
    assert listed("-a", "--status", "cancelled") == [ids[2], ids[0]]
    assert run(there, "retry", "--status", "cancelled", "--fresh").stdout.split() == [
        ids[0],
        "pending",
        ids[2],
        "pending",
    ]
    assert store.load(ids[3]).state is State.PENDING
    assert run(there, "rm", "--all").stderr == "no such job\n"
    assert isinstance(run(there, "cancel").exception, UsageError)


def test_what_is_refused_there_is_the_error_it_is_here(there: str, store: JobStore) -> None:
    job = accept(store)
    store.move(job.id, Event.CANCEL, now())
    codes: dict[tuple[str, ...], Any] = {
        ("show", "none"): 66,
        ("cancel", job.id): None,
        ("pause", job.id): 75,
        ("submit", "train", "wdbc.toml", "--set", "resources.memory=1KiB"): 65,
        ("submit", "train", "wdbc.toml", "--set", "data.path=/etc/passwd.csv"): 65,
    }
    for words, code in codes.items():
        assert getattr(run(there, *words).exception, "exit_code", None) == code, words


def test_a_token_that_is_wrong_or_missing_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(run(client.origin, "ps").exception, NotPermitted)
    monkeypatch.setenv("SINGLEPOINT_TOKEN", "wrong")
    found = run(client.origin, "ps").exception
    assert isinstance(found, NotPermitted)
    assert found.message == "the token is missing or wrong"


def test_a_server_that_is_not_there_is_told(there: str, client: Client) -> None:
    client.stop()

    assert isinstance(run(there, "ps").exception, BrokerAway)


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://x/path"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Server(url, "x")


def test_what_is_done_on_the_machine_itself_says_so(there: str) -> None:
    assert "on the machine itself" in str(run(there, "up").exception)
