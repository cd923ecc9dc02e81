"""Prepared rows shared between jobs on the same data: the second job begins with what the first one prepared.

An entry lies in the home under names of its recipe (all that decides what is made of the rows, with what each file
is for) and of its data's digest. A job holds it by a hard link of its own, so what a job that has not ended needs is
never removed from under it; entries that no job holds stay for further jobs, the least recently used going first, as
far as a setting allows. Everything here may fail or be gone: then a job reads the files, as if nobody had before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.spec.base import as_known_to_format_1
from singlepoint.jobs.spec.data import DataSpec
from singlepoint.jobs.store.durable import remove_if_possible
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.settings import read_settings
from singlepoint.worker.data.formats import files_of, member_of
from singlepoint.worker.data.formats.streams import unpacked_name
from singlepoint.worker.data.formats.training import data_files
from singlepoint.worker.nn.architecture import last_activation, takes_sequences, takes_tokens

from . import prepared
from .loading import TrainSections
from .training_set import TrainingSet

_NAME = "{recipe}-{data}.safetensors"
_SHOWN = 32  # hexadecimal digits of each


def recipe_of(spec: TrainSections, base: Path) -> str:
    """The name of all that decides, besides the bytes, what rows are trained on: not the optimiser, nor the widths.

    base: what relative paths are relative to. Raises NotFound for a file that is missing.
    """
    data = as_known_to_format_1(spec.data)
    facts = {
        "data": {name: value for name, value in data.items() if not name.endswith("path")},
        "files": _roles(spec.data, base),
        "preprocessing": as_known_to_format_1(spec.preprocessing),
        "model": [takes_tokens(spec.model), takes_sequences(spec.model), last_activation(spec.model)],
        "training": [spec.training.loss, spec.training.seed],
        "format": prepared.FORMAT,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_SHOWN]


def _roles(data: DataSpec, base: Path) -> dict[str, list[tuple[int, str, str]]]:
    """What each of the data's files is for and how it is read, but not how it is called: its place among them, the
    array or (of a folder of classes) the file in it that is meant, and the ending that tells its format.

    The bytes do not tell inputs from targets, nor rows to learn from and rows to measure on.
    """
    place = {path: number for number, path in enumerate(data_files(data, base))}
    roles: dict[str, list[tuple[int, str, str]]] = {}
    for name in type(data).model_fields:
        if not name.endswith("path") or (said := getattr(data, name)) is None:
            continue
        for path in files_of(said, base, f"data.{name}"):
            file, member = member_of(path)
            inside = sorted(one for one in path.rglob("*") if one in place) if path.is_dir() else []
            roles.setdefault(name, []).extend(
                [(place[one], str(one.relative_to(path)), "") for one in inside]
                or [(place[file], member or "", unpacked_name(file).suffix.lower())]
            )
    return roles


def take(home: Home, recipe: str, own: Path, sources: Sequence[Path], digest: Callable[[], str]) -> TrainingSet | None:
    """Rows that another job prepared by this recipe from these files, or from files of the same bytes.

    own: where the job then holds them, if they are of these very files, unchanged.  digest: of the files, which is
    worked out only where there is an entry that it may decide.
    """
    entries = sorted(home.prepared.glob(_NAME.format(recipe=recipe, data="*")))
    for entry in entries:
        with contextlib.suppress(OSError):
            if prepared.is_of(entry, sources):
                os.link(entry, own)
                os.utime(own)
                return _whole(own, sources)
    name = _NAME.format(recipe=recipe, data=digest()[:_SHOWN]) if entries else ""
    return _whole(home.prepared / name, sources) if name in {entry.name for entry in entries} else None


def _whole(path: Path, sources: Sequence[Path]) -> TrainingSet | None:
    """What is kept there; if it is damaged, it goes."""
    found = prepared.kept(path, sources)
    if found is None:
        remove_if_possible(path)
        return None
    return found[0]


def offer(home: Home, recipe: str, own: Path, digest: str) -> None:
    """Let other jobs have what this one holds."""
    with contextlib.suppress(OSError):
        home.prepared.mkdir(mode=0o700, exist_ok=True)
        entry = home.prepared / _NAME.format(recipe=recipe, data=digest[:_SHOWN])
        remove_if_possible(entry)  # of files with the same bytes that were others, or have changed
        reach("prepared.offer")
        os.link(own, entry)
    make_room(home)


def make_room(home: Home) -> None:
    """Remove entries that no job holds, as far as all of them together take more than the owner allows."""
    idle: list[tuple[int, int, Path]] = []
    taken = 0
    with contextlib.suppress(OSError):
        for entry in home.prepared.iterdir():
            status = entry.stat()
            taken += status.st_size
            if status.st_nlink == 1:
                idle.append((status.st_mtime_ns, status.st_size, entry))
    allowed = most_bytes(home) if idle else 0
    for _, size, entry in sorted(idle):
        if taken <= allowed:
            return
        remove_if_possible(entry)
        taken -= size


def most_bytes(home: Home) -> int:
    """What the owner allows; nothing where the settings cannot be read."""
    try:
        return read_settings(home).prepared.most
    except SinglepointError:
        return 0
