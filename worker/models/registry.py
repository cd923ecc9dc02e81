"""The models that jobs have made: `models/<name>/<n>/`, numbered from 1, never overwritten, and no number
is given twice: `models/<name>/removed` holds the highest that was given to a model that was removed since.

A trained model is staged in its job's directory and renamed into place while the job's history lock is held.
If the process dies before the move is recorded, the next attempt finds its model by the job's id and leaves it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs.errors import NotFound
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.store.durable import (
    make_directory,
    move_into_place,
    remove_if_possible,
    replace_file,
    temporary_name,
)
from singlepoint.jobs.store.home import Home


@dataclass(frozen=True)
class Publication:
    """A staged model that only waits for its place: all that takes time was done before.

    sha256: of its weights.  number: the first that may be free.  published: where an earlier attempt, which died before
    its move was recorded, has put the very same model.
    """

    stage: Path
    sha256: str
    shelf: Path
    number: int
    published: Path | None

    def publish(self) -> Mapping[str, Any]:
        """Give it its place; answers the facts of the job's last move. Called while the job's history is locked.

        Raises StorageFull or NotPermitted, and then nothing is published.
        """
        if self.published is not None:
            shutil.rmtree(self.stage, ignore_errors=True)
            return _facts(self.published, self.sha256)
        with _alone(self.shelf):
            number = max(self.number, _removed(self.shelf) + 1)
            while True:
                try:
                    move_into_place(self.stage, self.shelf / str(number), point="publish.model")
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    number += 1
                else:
                    return _facts(self.shelf / str(number), self.sha256)


@contextlib.contextmanager
def _alone(shelf: Path) -> Iterator[None]:
    """Nobody else gives or takes a number of this name meanwhile; it is a matter of two renames."""
    descriptor = os.open(shelf, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def ready(home: Home, name: str, job_id: str, stage: Path, sha256: str, *, first: bool) -> Publication:
    """Find a staged model's place, while the job's lock keeps away every other attempt of this job.

    first: whether no earlier attempt can have published.
    """
    existing = None if first else of_job(home, name, job_id)
    if existing is not None and (description(existing).get("weights") or {}).get("sha256") != sha256:
        existing = None  # of another environment, or trained anew
    shelf = home.models / name
    make_directory(shelf)
    return Publication(stage, sha256, shelf, max([*versions(home, name), _removed(shelf)]) + 1, existing)


def _facts(place: Path, digest: str) -> dict[str, Any]:
    return {"result": {"model": f"{place.parent.name}/{place.name}", "path": str(place), "sha256": digest}}


def versions(home: Home, name: str) -> list[int]:
    """The numbers of a model's versions, ascending; empty when there is none of that name."""
    shelf = home.models / name
    if not shelf.is_dir():
        return []
    return sorted(int(entry.name) for entry in os.scandir(shelf) if entry.name.isdigit())


def remove(place: Path) -> None:
    """Delete a version: it is gone from the moment of the rename; what a process that dies then leaves is swept.

    Raises StorageFull, NotPermitted; NotFound when somebody else was quicker.
    """
    number, doomed = int(place.name), temporary_name(place)
    with _alone(place.parent):
        if number > _removed(place.parent):
            replace_file(place.parent / REMOVED, b"%d" % number, point="model.remove.number")
        try:
            move_into_place(place, doomed, point="model.remove")
        except FileNotFoundError:
            raise NotFound(f"model {place.parent.name}/{number} was removed meanwhile") from None
    reach("model.remove.delete")
    remove_if_possible(doomed)


REMOVED = "removed"


def _removed(shelf: Path) -> int:
    try:
        return int((shelf / REMOVED).read_bytes()[:20])
    except (OSError, ValueError):
        return 0


def names(home: Home) -> list[str]:
    """Of which there is a version: what was removed leaves its shelf behind."""
    shelves = (entry.name for entry in os.scandir(home.models) if entry.is_dir() and not entry.name.startswith("."))
    return sorted(name for name in shelves if versions(home, name))


def of_job(home: Home, name: str, job_id: str) -> Path | None:
    """The newest version that this job made, if any."""
    for number in reversed(versions(home, name)):
        place = home.models / name / str(number)
        if (description(place).get("provenance") or {}).get("job") == job_id:
            return place
    return None


def description(place: Path) -> dict[str, Any]:
    """A model's `model.json` as it stands; empty when it cannot be read."""
    try:
        return dict(json.loads((place / "model.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
