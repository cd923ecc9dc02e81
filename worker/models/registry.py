"""The models that jobs have made: `models/<name>/<n>/`, numbered from 1, never overwritten.

A trained model is staged in its job's directory and renamed into place while the job's history lock is held.
If the process dies before the move is recorded, the next attempt finds its model by the job's id and leaves it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from singlepoint.jobs.store.durable import make_directory, move_into_place
from singlepoint.jobs.store.home import Home


def publish(home: Home, name: str, job_id: str, stage: Path) -> Mapping[str, Any]:
    """Give a staged model its place; answers the facts of the job's last move.

    Raises StorageFull or NotPermitted, and then nothing is published.
    """
    existing = of_job(home, name, job_id)
    digest = _sha256(stage / "model.safetensors")
    if existing is not None and _sha256(existing / "model.safetensors") == digest:
        shutil.rmtree(stage, ignore_errors=True)
        return _facts(existing, digest)
    shelf = home.models / name
    make_directory(shelf)
    number = max(versions(home, name), default=0)
    while True:
        number += 1
        try:
            move_into_place(stage, shelf / str(number), point="publish.model")
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return _facts(shelf / str(number), digest)


def _facts(place: Path, digest: str) -> dict[str, Any]:
    return {"result": {"model": f"{place.parent.name}/{place.name}", "path": str(place), "sha256": digest}}


def versions(home: Home, name: str) -> list[int]:
    """The numbers of a model's versions, ascending; empty when there is none of that name."""
    shelf = home.models / name
    if not shelf.is_dir():
        return []
    return sorted(int(entry.name) for entry in os.scandir(shelf) if entry.name.isdigit())


def names(home: Home) -> list[str]:
    return sorted(entry.name for entry in os.scandir(home.models) if entry.is_dir() and not entry.name.startswith("."))


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


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
