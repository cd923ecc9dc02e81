"""What a person's word for a job or a model means. Read from the directories, so Redis need not be there.

A job: its id, any unique beginning of it, its name, or `last`. A model: NAME, NAME/n, a directory with a model.json
(or that file), or a training job. A name that several bear means the newest, which is told (as a warning of this
module's logger: on stderr, unless logging says otherwise); `NAME~1` is the one before it, `NAME~2` the one before that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, NotFound, NotNow, Problem, UsageError
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore

MODEL_FILE = "model.json"


def find_job(store: JobStore, word: str) -> str:
    """The id of the job that `word` means; raises NotFound, or UsageError when it could be several."""
    if store.exists(word):
        return word
    name, back = _back(word)
    if name == "last":
        newest = store.latest(back + 1)
        if not newest:
            raise NotFound("there is no job yet", hint="`singlepoint submit train SPEC.toml` makes one")
        return _nth(newest, word, back, len(newest))
    if not word:
        raise NotFound("no job without a name", hint="`singlepoint ps -a` lists all of them")
    begun, submissions = store.matching(word, name)
    named = {job_id for _, job_id in submissions}
    if len(begun) > 1 or (begun and not named <= begun):
        raise _ambiguous(word, begun, named)
    if begun:
        return begun.pop()
    if not named:
        raise NotFound(f"no job {word}", hint="`singlepoint ps -a` lists all of them")
    found = _nth(sorted(submissions, reverse=True), word, back, len(submissions))
    if len(named) > 1 and name == word:
        _warn("%s: the newest of %d jobs of that name, %s; %s~1 is the one before", word, len(named), found, name)
    return found


def _warn(message: str, *words: object) -> None:
    import logging  # seldom, and it takes as long as reading a job

    logging.getLogger(__name__).warning(message, *words)


def _back(word: str) -> tuple[str, int]:
    """`NAME~2` as the name and 2; any other word as it is, and 0."""
    match = re.fullmatch(r"(.+)~([0-9]{1,9})", word)
    return (match[1], int(match[2])) if match else (word, 0)


def _nth(newest: Sequence[tuple[str, str]], word: str, back: int, count: int) -> str:
    """The one that so many newer ones follow. newest: the last to be submitted first.  count: of all."""
    if back < len(newest):
        return newest[back][1]
    raise NotFound(f"no {word}: there are only {count} of that name")


def _ambiguous(word: str, begun: set[str], named: set[str]) -> UsageError:
    """That a word begins several ids, or one and is another job's name; each is listed as what it is."""
    parts = [f"it begins {_listed(begun)}"]
    if named:
        parts.append(f"it is the name of {_listed(named)}")
    hint = "give the whole id" if named else "give more of the id"
    return UsageError(f"{word} could be any of {len(begun | named)} jobs: {' and '.join(parts)}", hint=hint)


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(ids)[:8]) + (", …" if len(ids) > 8 else "")


def find_model(store: JobStore, word: str) -> str:
    """Where the model that `word` means lies, as an absolute path; or the id of a training that has yet to end.

    Raises NotFound, UsageError for an ambiguous job, NotNow for a training that ended without a model, or InvalidInput
    for what is no model that can be asked here.
    """
    directory = _stored(store.home, word) or _directory(Path(word))
    if directory is not None:
        return str(directory)
    if os.path.isabs(word):
        if Path(word).suffix == ".onnx" and Path(word).is_file():
            what = f"{Path(word).name} is a network exported for other programs, which is not read back"
            raise InvalidInput(Problem("model", what, f"name the {MODEL_FILE} that it was exported from"))
        raise NotFound(f"no model in {word}", hint=f"a model's directory holds a {MODEL_FILE}")
    try:
        job = store.load(find_job(store, word))
    except NotFound:
        raise NotFound(f"no model {word}", hint="`singlepoint models` lists them; a directory works too") from None
    place = model_of(job)
    if place is not None and not Path(place, MODEL_FILE).is_file():
        raise NotFound(
            f"the model of job {job.id} is no longer in {place}", hint="`singlepoint models` lists those there are"
        )
    return place or job.id


def model_of(job: Job) -> str | None:
    """The directory of the model that a training made, or None while it may still make one."""
    if job.kind != "train":
        raise InvalidInput(Problem("model", f"job {job.id} is no training but a {job.kind}"))
    if job.state is State.SUCCEEDED and job.result is not None:
        return str(job.result.get("path", ""))
    if job.is_final:
        raise NotNow(f"job {job.id} {job.state.value}, so it made no model", hint=f"`singlepoint retry {job.id}`")
    return None


def _stored(home: Home, word: str) -> Path | None:
    """The model of that name in the home: the version asked for, else the newest, or one so many before it."""
    name, _, version = word.partition("/")
    name, back = _back(name)
    if not name or name.startswith(".") or "/" in version:
        return None
    if version:
        return _directory(home.models / name / version)
    try:
        versions = [int(entry.name) for entry in os.scandir(home.models / name) if entry.name.isdigit()]
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = [_directory(home.models / name / str(number)) for number in sorted(versions, reverse=True)]
    sound = [directory for directory in found if directory is not None]
    if back >= len(sound):
        return None
    if len(sound) > 1 and name == word:
        _warn("%s: the newest of %d models of that name, %s/%s", word, len(sound), name, sound[0].name)
    return sound[back]


def _directory(path: Path) -> Path | None:
    if path.name == MODEL_FILE:
        path = path.parent
    return path.absolute() if (path / MODEL_FILE).is_file() else None
