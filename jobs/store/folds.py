"""Histories, read on from where this process read them last: one more line costs the same, however many there are.

What was read is only remembered, never written down, and held against the file each time: a history that was cut,
restored or replaced does not go on from the same end, and is read anew.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass

from singlepoint.jobs.lifecycle.history import fold, whole_lines
from singlepoint.jobs.lifecycle.records import Job

MOST = 64
"""Jobs remembered, those read last."""

END_BYTES = 2**16
"""By which a history is known again: most are held against what was read of them from the first byte on."""


@dataclass(frozen=True)
class _Read:
    """job: as it was read.  end: the last bytes of that."""

    job: Job
    end: bytes


class Folds:
    """What one store has read. Any thread may ask."""

    def __init__(self) -> None:
        self._read: OrderedDict[str, _Read] = OrderedDict()

    def read(self, job_id: str, descriptor: int) -> Job:
        """The job as its open history tells it now; raises HistoryDamaged. Whole lines only: see `Job.size`."""
        size = os.fstat(descriptor).st_size
        known = self._read.get(job_id)
        if known is not None and known.job.size <= size:
            begin = known.job.size - len(known.end)
            content = os.pread(descriptor, size - begin, begin)
            if content.startswith(known.end):
                return self._fold(job_id, known, content[len(known.end) :])
        return self._fold(job_id, None, os.pread(descriptor, size, 0))

    def _fold(self, job_id: str, known: _Read | None, content: bytes) -> Job:
        whole = whole_lines(content)
        if known is not None and not whole:
            return known.job
        job = fold(job_id, whole, known.job if known else None)
        self._keep(job, (known.end if known else b"") + whole)
        return job

    def appended(self, job: Job, content: bytes) -> None:
        """This was added to what was read of the job's history, which tells of it so now."""
        known = self._read.get(job.id)
        if known is not None and known.job.size + len(content) == job.size:
            self._keep(job, known.end + content)

    def _keep(self, job: Job, content: bytes) -> None:
        self._read.pop(job.id, None)
        self._read[job.id] = _Read(job, content[-END_BYTES:])
        if len(self._read) > MOST:
            self._read.popitem(last=False)
