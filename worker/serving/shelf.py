"""The models in memory: loaded when first asked for, warmed before they answer, put away when others need the room.

A newer version is loaded beside the one that answers, in a thread, and takes its place in one step: nobody waits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.settings import read_settings
from singlepoint.worker.data.preprocessing import Raw
from singlepoint.worker.models import files, registry
from singlepoint.worker.models.predictor import ModelPredictor

from .signature import Refused, Signature, signature

log = logging.getLogger("singlepoint.serving")

BUDGET_SHARE = 4
"""Models may take so large a part, a quarter, of the memory that all of singlepoint may; shared by the processes."""

MEMORY_BYTES = 1 << 30
"""Where no scheduler has said how much that is."""


def budgeted_bytes(home: Home) -> int:
    """How much the models of one process may take, by the budget that holds now."""
    try:
        capacity = read_capacity(home)
        processes = read_settings(home).http.processes
    except SinglepointError:  # damaged; whoever owns the file says so
        return MEMORY_BYTES
    whole = capacity.budget.memory_bytes // BUDGET_SHARE if capacity is not None else MEMORY_BYTES
    return whole // processes


SETTLED_NS = 1_000_000_000
"""A listing is believed once its directory has not changed for so long: two changes may bear one time."""

MOST_LISTED = 4096

Key = tuple[str, int]


@dataclass
class Listed:
    """The versions of a name. changed_ns: when its directory last changed, 0 while it may do so again.

    looked: at which look that was so.
    """

    versions: Sequence[int]
    changed_ns: int
    looked: int


@dataclass(frozen=True)
class Loaded:
    """One model, ready to answer. file_bytes: of its files, which is about what its weights and categories take."""

    name: str
    version: int
    predictor: ModelPredictor
    signature: Signature
    file_bytes: int

    @property
    def bytes(self) -> int:
        """What it takes by now, with what it works in."""
        return self.file_bytes + self.predictor.working_bytes


class Shelf:
    """The models of a home, by name and version; for one thread.

    most_bytes: how much they may take, asked whenever one is loaded. The one that was asked for stays, however large.
    """

    def __init__(self, home: Home, most_bytes: Callable[[], int] | None = None) -> None:
        self._home = home
        self._models = str(home.models)
        self._listed: dict[str, Listed] = {}
        self._looks = 0
        self._most_bytes = most_bytes or (lambda: budgeted_bytes(home))
        self._loaded: OrderedDict[Key, Loaded] = OrderedDict()
        self._coming: dict[Key, Future[Loaded]] = {}
        self._loader = ThreadPoolExecutor(1, "loader")

    def get(self, name: str, version: int | None = None) -> Loaded:
        """A model; without a version the newest that is ready. Raises Refused."""
        versions = self.versions(name)
        wanted = (name, versions[-1] if version is None else version)
        found = self._loaded.get(wanted)
        if found is None and version is None:
            found = self._meanwhile(wanted)
        if found is None:
            found = self._keep(wanted, self._load(wanted))
        self._loaded.move_to_end((found.name, found.version))
        return found

    def is_loaded(self, name: str, version: int) -> bool:
        return (name, version) in self._loaded

    def versions(self, name: str) -> Sequence[int]:
        """Ascending. Raises Refused for a name that no model has."""
        listed = self._listed.get(name)
        if listed is None or listed.looked != self._looks or not listed.versions:
            listed = self._looked_at(name, listed)
        if not listed.versions:
            raise Refused(404, "there is no such model")
        return listed.versions

    def _put_away_what_was_removed(self, name: str, there: Sequence[int]) -> None:
        for key in [key for key in self._loaded if key[0] == name and key[1] not in there]:
            del self._loaded[key]
            log.info("model_put_away model=%s/%d removed=true", *key)
        for key in [key for key in self._coming if key[0] == name and key[1] not in there]:
            del self._coming[key]

    def look(self) -> None:
        """Have every name looked at anew when it is asked for next, as one that no model has is in any case."""
        self._looks += 1
        if len(self._listed) > MOST_LISTED:
            self._listed.clear()

    def _looked_at(self, name: str, before: Listed | None) -> Listed:
        """What is there by now, remembered."""
        try:
            changed_ns = os.stat(f"{self._models}/{name}").st_mtime_ns
            if before is not None and before.changed_ns == changed_ns:
                before.looked = self._looks
                return before
            settled = time.time_ns() - changed_ns > SETTLED_NS
            listed = Listed(tuple(registry.versions(self._home, name)), changed_ns if settled else 0, self._looks)
        except (FileNotFoundError, NotADirectoryError):
            listed = Listed((), 0, self._looks)
        except OSError as error:  # the disk fails: what is loaded goes on answering
            log.warning("models_unreadable model=%s error=%r", name, str(error))
            known = [version for one, version in self._loaded if one == name] if before is None else before.versions
            listed = Listed(tuple(sorted(known)), 0, self._looks)
        self._listed[name] = listed
        self._put_away_what_was_removed(name, listed.versions)
        return listed

    def names(self) -> list[str]:
        return registry.names(self._home)

    def _meanwhile(self, wanted: Key) -> Loaded | None:
        """An older version that answers while the newest is being loaded; the newest once it is there."""
        older = max((key for key in self._loaded if key[0] == wanted[0]), default=None)
        if older is None:
            return None
        coming = self._coming.get(wanted)
        if coming is None:
            self._coming[wanted] = self._loader.submit(self._load, wanted)
        elif coming.done():
            del self._coming[wanted]
            with contextlib.suppress(Refused):
                return self._keep(wanted, coming.result())
        return self._loaded[older]

    def _keep(self, key: Key, loaded: Loaded) -> Loaded:
        self._loaded[key] = loaded
        most_bytes = self._most_bytes()
        while len(self._loaded) > 1 and sum(one.bytes for one in self._loaded.values()) > most_bytes:
            (name, version), _ = self._loaded.popitem(last=False)
            log.info("model_put_away model=%s/%d most_bytes=%d", name, version, most_bytes)
        return loaded

    def _load(self, key: Key) -> Loaded:
        name, version = key
        place = self._home.models / name / str(version)
        if not place.is_dir():
            raise Refused(404, "there is no such model")
        try:
            model = files.load(place)
        except (SinglepointError, OSError) as error:
            log.warning("model_not_loaded model=%s/%d error=%s", name, version, type(error).__name__)
            raise Refused(422, "the model cannot be read; `singlepoint models show` says why") from None
        predictor = ModelPredictor(model)
        loaded = Loaded(name, version, predictor, signature(predictor), _file_bytes(place))
        _warm(loaded)
        log.info("model_loaded model=%s/%d bytes=%d", name, version, loaded.bytes)
        return loaded


def _file_bytes(place: Path) -> int:
    return sum(os.stat(entry.path).st_size for entry in os.scandir(place))


def _warm(loaded: Loaded) -> None:
    """One row and sixteen: what is bound for the first of a size is bound before anybody waits."""
    for rows in (1, 16):
        with contextlib.suppress(SinglepointError, ValueError):
            loaded.predictor.predict(_nothing(loaded.signature, rows))


def _nothing(of: Signature, rows: int) -> Raw:
    if of.is_whole:
        return np.zeros((rows, *of.inputs[0].shape[1:]), np.float64 if of.columns else np.float32)
    return {one.name: np.full(rows, "", object) if one.datatype == "BYTES" else np.zeros(rows) for one in of.inputs}
