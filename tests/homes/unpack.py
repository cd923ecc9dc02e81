"""Puts the home of an earlier release in place, as if it had been made there: see `make.py`."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from .make import DATA

HOMES = Path(__file__).parent


@dataclass(frozen=True)
class EarlierHome:
    """path: of the home.  jobs: ids by what they are there for (`running`, `held`, …).  answers: what it had scored."""

    path: Path
    jobs: dict[str, str]
    answers: bytes


def releases() -> list[str]:
    """Every release whose home is kept."""
    return sorted(path.parent.name for path in HOMES.glob("*/fixture.json"))


def unpack(release: str, directory: Path) -> EarlierHome:
    """The home of a release, in `directory`, with the data beside it that its specs name."""
    source, home = HOMES / release, directory / "home"
    fixture = json.loads((source / "fixture.json").read_text())
    shutil.copytree(source / "home", home)
    shutil.copyfile(DATA, directory / "wdbc.csv")
    for job in (home / "jobs").iterdir():
        _move(job, fixture["made_in"], str(directory))
    return EarlierHome(home, fixture["jobs"], (source / "answers.csv").read_bytes())


def _move(job: Path, old: str, new: str) -> None:
    """Write a job's paths anew, and the fingerprint, which is the digest of its stored spec."""
    spec, history = job / "spec.json", job / "history.jsonl"
    before, after = spec.read_bytes(), spec.read_bytes().replace(old.encode(), new.encode())
    spec.write_bytes(after)
    was, now = (hashlib.sha256(content).hexdigest().encode() for content in (before, after))
    history.write_bytes(history.read_bytes().replace(old.encode(), new.encode()).replace(was, now))
