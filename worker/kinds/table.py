"""The kinds of jobs, one entry each: how each is checked before it is accepted, and how it is done.

`jobs.spec.kinds` has the same names, and says what may be asked; `jobs.commands.submit` has a command for each. A
kind's file is loaded when it is needed: to hand in a job of one kind takes nothing that only another needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec

if TYPE_CHECKING:  # to hand in needs nothing of an attempt
    from singlepoint.worker.ground.work import Outcome, Work


@dataclass(frozen=True)
class Kind:
    """check: would this run? Raises InvalidInput with every problem found, NotFound for a missing file,
    ModelFormatError. Looks only; whatever it lets pass may still meet a bad row far down a large file. Answers what
    it found and settled, if anything.
    run: make one attempt. Raises Stopped when asked to stop, with the work saved.
    """

    check: Callable[[Any], Checked | None]
    run: Callable[[Work], Outcome]


def _train() -> Kind:
    from . import train

    return Kind(train.check, train.train)


def _predict() -> Kind:
    from . import predict

    return Kind(predict.check, predict.predict)


def _run() -> Kind:
    from . import run

    return Kind(run.check, run.run)


KINDS: dict[str, Callable[[], Kind]] = {"train": _train, "predict": _predict, "run": _run}

RUNS_PROGRAMS = frozenset({"run"})
"""Kinds whose attempts start programs: processes that share nothing with ours, and have a grace of their own."""


def check(spec: Spec) -> Checked | None:
    """What `submit` asks of the worker; see `Kind.check`."""
    return KINDS[spec.kind]().check(spec)
