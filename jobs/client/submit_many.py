"""Many jobs from one client: all checked before any is kept, and kept and told at the price of a few.

What costs time for one job is waiting for the disk, twice: for the file system's, and for Redis's own. A batch waits
once for each. No id is answered before its whole batch is safe.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec, environment, to_json
from singlepoint.jobs.store.job_store import NewJob, new_id

from .session import Session
from .submit import Check, Submitted, Tell, accept, announce, facts_of, prepare

BATCH = 500
"""Jobs that are kept and told together: some tenths of a second."""


Called = tuple[str, Callable[[], Spec]]
"""A spec yet to be read: what to call it where it will not do, and how to read it."""


def submit_many(session: Session, specs: Iterable[Called], at: float, check: Check | None = None) -> list[str]:
    """Accept jobs; their ids, in order. See `prepare_all` and `accept_all` for what can be raised."""
    return [one.job.id for one in accept_all(session, prepare_all(session, specs, at, check), at)]


def prepare_all(
    session: Session, specs: Iterable[Called], at: float, check: Check | None = None, tell: Tell | None = None
) -> list[Checked]:
    """Every spec as `prepare` answers it.

    Raises InvalidInput with all problems of all of them, and what else `prepare` raises.
    """
    sound, problems = [], []
    check = remembering(check) if check is not None else None
    for called, read in specs:
        try:
            sound.append(prepare(session, read(), at, check, tell))
        except InvalidInput as error:
            problems += [replace(problem, field=f"{called}: {problem.field}") for problem in error.problems]
    if problems:
        raise InvalidInput(problems)
    return sound


def remembering(check: Check) -> Check:
    """The check, made once of specs that only differ in what says nothing about whether they do: name and seed."""
    known: dict[str, tuple[Checked | None, dict[str, Any]]] = {}

    def look(spec: Spec) -> Checked | None:
        wish = _wish(spec)
        if wish not in known:
            found = check(spec)
            known[wish] = found, {} if found is None else _settled(spec, found.spec)
        checked, settled = known[wish]
        return None if checked is None else replace(checked, spec=spec.model_copy(update=settled))

    return look


def _wish(spec: Spec) -> str:
    document = spec.model_dump(mode="json", exclude={"name"})
    document.get("training", {}).pop("seed", None)
    return json.dumps(document, sort_keys=True)


def _settled(spec: Spec, settled: Spec) -> dict[str, Any]:
    """What a check settled of what the spec left open."""
    fields = {name: getattr(settled, name) for name in type(spec).model_fields}
    return {name: value for name, value in fields.items() if value != getattr(spec, name)}


def accept_all(session: Session, specs: Sequence[Checked], at: float) -> Iterator[Submitted]:
    """Keep jobs, then tell Redis, batch by batch; each is answered once its batch is safe.

    Those with a unique key are kept one by one. Raises BrokerAway, BrokerRefuses, StorageFull or NotPermitted; what was
    answered until then is kept.
    """
    session.require_writable()
    for first in range(0, len(specs), BATCH):
        batch = specs[first : first + BATCH]
        kept = iter(_keep(session, [one for one in batch if not one.spec.unique], at))
        for one in batch:
            yield accept(session, one, at) if one.spec.unique else next(kept)


def _keep(session: Session, specs: Sequence[Checked], at: float) -> list[Submitted]:
    if not specs:
        return []
    wanted = [
        NewJob(new_id(), to_json(one.spec), facts_of(session.home, one), environment(one.spec, os.environ))
        for one in specs
    ]
    jobs = session.store.create_all(wanted, at)
    waited = announce(session, *jobs)
    return [Submitted(job, None if waited is None else waited + n) for n, job in enumerate(jobs)]
