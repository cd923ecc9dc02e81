"""The home directory: where everything of singlepoint lies on disk, and what each name in it is for.

    home.json            the home's UUID and format, written once
    redis/               the embedded broker's socket, append-only file and log
    broker.json          which server opened this home (family, version, socket)
    capacity.json        the budget the running scheduler enforces
    settings.toml        what the owner sets; read by `settings`, written by nobody but the owner
    ledger.sums.json     the sums of the ledger up to some line; made anew when it is gone
    ledger.list          the jobs that it says have ended, by their submission, up to some line; made anew likewise
    ledger.jsonl         which jobs have ended, and what was learned from all that ever ran
    going-on/            the names of the jobs that go on
    policy               the policy that was chosen for the scheduler
    draining             there while the home is being drained: nothing is started
    jobs/<id>/           a job: see `job_files`
    models/<name>/<n>/   model.json, model.safetensors; `removed` beside them: the highest n that is gone
    prepared/            rows of trainings as they were prepared, for other jobs on the same data
    uploads/<id>/        files that came by HTTP, for jobs to read
    outputs/             what jobs leave for good and said no other place for
    http.token           the secret of page and interface, mode 0600; http.json: where they answer;
                         serving.sock, serving-<n>.sock: where predictions are answered at once
    *.lock               kernel locks: broker, scheduler, supervisor; unique, while a job with a key is accepted

Opening a home creates it (mode 0700) and refuses one that belongs to somebody else or cannot be written.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import InvalidInput, NotPermitted, Problem, StorageFull
from singlepoint.jobs.regular_files import read_regular

from .durable import explained, replace_file
from .job_files import JobFiles

FORMAT = 1


def default_path(environment: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """`$SINGLEPOINT_HOME`, else the platform's directory for user state."""
    if chosen := environment.get("SINGLEPOINT_HOME"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "singlepoint"
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "singlepoint"


@dataclass(frozen=True)
class Home:
    """The paths of one home, and its UUID (`""` until opened)."""

    path: Path
    uuid: str = ""

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def prepared(self) -> Path:
        return self.path / "prepared"

    @property
    def uploads(self) -> Path:
        return self.path / "uploads"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @property
    def http_token(self) -> Path:
        return self.path / "http.token"

    def serving(self, number: int) -> tuple[Path, Path]:
        """Lock and socket of one of the processes that answer predictions, numbered from 0."""
        name = f"serving-{number}" if number else "serving"
        return self.lock(name), self.path / f"{name}.sock"

    @property
    def http_record(self) -> Path:
        return self.path / "http.json"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    def job(self, job_id: str) -> Path:
        return self.jobs / job_id

    def job_files(self, job_id: str) -> JobFiles:
        return JobFiles(self.job(job_id))

    def lock(self, name: str) -> Path:
        """The kernel lock of a singleton: `broker`, `scheduler`, `supervisor`."""
        return self.path / f"{name}.lock"

    @property
    def broker_record(self) -> Path:
        return self.path / "broker.json"

    @property
    def utilisation(self) -> Path:
        return self.path / "utilisation"

    @property
    def budget(self) -> Path:
        return self.path / "budget"

    @property
    def policy(self) -> Path:
        return self.path / "policy"

    @property
    def draining(self) -> Path:
        return self.path / "draining"

    @property
    def going_on(self) -> Path:
        return self.path / "going-on"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def ledger_sums(self) -> Path:
        return self.path / "ledger.sums.json"

    @property
    def catalogue(self) -> Path:
        return self.path / "ledger.list"

    @property
    def settings(self) -> Path:
        return self.path / "settings.toml"

    @property
    def capacity_record(self) -> Path:
        return self.path / "capacity.json"

    @property
    def blas_record(self) -> Path:
        return self.path / "blas.json"


def open_home(path: Path | str | None = None) -> Home:
    """The home at `path` (by default `default_path()`), created when it is not there.

    Raises NotPermitted when it cannot be created or written, or belongs to another user.
    """
    root = Path(path).expanduser().absolute() if path is not None else default_path().expanduser().absolute()
    home = Home(root)
    try:
        with explained(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(root)
            for directory in (home.jobs, home.models):
                directory.mkdir(mode=0o700, exist_ok=True)
            return Home(root, _uuid(root / "home.json"))
    except StorageFull:
        raise
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise NotPermitted(f"{root} is not and cannot be a directory", hint="choose another with --home") from error


def _check_owner(root: Path) -> None:
    owner = root.stat().st_uid
    if owner != os.geteuid():
        raise NotPermitted(
            f"{root} belongs to user {owner}, not to you (user {os.geteuid()})",
            hint="choose another directory with --home or $SINGLEPOINT_HOME",
        )
    if root.stat().st_mode & stat.S_IWOTH:
        raise NotPermitted(f"anybody may write to {root}", hint=f"`chmod go-w {root}`, or choose another with --home")
    if not os.access(root, os.W_OK | os.X_OK):
        raise NotPermitted(f"{root} is not writable", hint="choose another directory with --home or $SINGLEPOINT_HOME")


def _uuid(record: Path) -> str:
    """The UUID of this home; the first to open it chooses, and two at once agree on the one that is kept."""
    if not record.exists():
        temporary = record.with_name(f".home.{os.getpid()}.json")
        replace_file(temporary, json.dumps({"format": FORMAT, "uuid": uuid.uuid4().hex}).encode(), point="home")
        try:
            with contextlib.suppress(FileExistsError):  # of somebody who opened it in the same instant; it is kept
                os.link(temporary, record)
        finally:
            os.unlink(temporary)
    try:
        document = documents.parse_object(read_regular(record))
        made_by, uuid_of_home = documents.whole(document, "format"), documents.text(document, "uuid", most=64)
        if not uuid_of_home.isalnum():
            raise Malformed("`uuid` is none")
    except (Malformed, OSError):
        hint = "restore it; it holds the UUID that the home's keys in Redis carry"
        raise InvalidInput(Problem(str(record), "is damaged", hint)) from None
    if made_by != FORMAT:
        raise NotPermitted(
            f"{record.parent} has format {made_by}, this singlepoint reads {FORMAT}",
            hint="use the version of singlepoint that made it, or another --home",
        )
    return uuid_of_home
