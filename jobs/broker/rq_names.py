"""What is ours in rq, by its names there; known without rq, which takes longer to load than most commands take."""

from __future__ import annotations

from singlepoint.jobs.lifecycle.records import is_job_id

FUNCTION = "singlepoint.worker.attempt.perform"
"""The one function rq may ever call. Stored in Redis: never move it, never add another."""

FUNCTION_OF_0_1 = "worker.attempt.perform"
"""What version 0.1.0 called it: entries that it left in Redis are still taken."""


def rq_id(job_id: str, attempt: int) -> str:
    return f"{job_id}_{attempt}"


def parse_rq_id(text: str) -> tuple[str, int]:
    """(job, attempt); raises ValueError for an id that is not ours: a job's id names a directory."""
    job_id, _, number = text.rpartition("_")
    if not (is_job_id(job_id) and number.isdecimal() and len(number) < 10 and rq_id(job_id, int(number)) == text):
        raise ValueError(f"{text[:80]!r} is no attempt of a job")
    return job_id, int(number)


def run_queue_name(home_uuid: str) -> str:
    return f"singlepoint-run-{home_uuid[:8]}"


def waiting_queue_name(home_uuid: str) -> str:
    return f"singlepoint-waiting-{home_uuid[:8]}"


def waiting_key(home_uuid: str) -> str:
    """Of the list of those that wait for room."""
    return f"rq:queue:{waiting_queue_name(home_uuid)}"


def workers_key(home_uuid: str) -> str:
    """Of the set of those that are registered to take from the queue that is run."""
    return f"rq:workers:{run_queue_name(home_uuid)}"
