"""What a replay comes to, in the terms of the field. Pure.

wait: from submission to end, less the run time; so a job that is put down waits again. Bounded slowdown: (wait + run) /
max(run, 10 s), at least 1 (Feitelson et al., JSSPP 1997). wide: at least half of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .machine import Life, Replay

SHORTEST_S = 10.0


def figures(replay: Replay) -> dict[str, Any]:
    """The JSON of `simulate`. Raises ValueError when nothing was played."""
    lives, cores = replay.lives, replay.workload.cores
    if not lives:
        raise ValueError("no job of this workload fits the machine")
    begin, end = min(life.arrival.submit_s for life in lives), max(life.ended_at for life in lives)
    work = sum(life.arrival.run_s * life.arrival.cores for life in lives)
    lost = sum(life.preemptions * life.arrival.cores for life in lives) * replay.switch_s
    preemptions = sum(life.preemptions for life in lives)
    return {
        "average_bounded_slowdown": sum(map(bounded_slowdown, lives)) / len(lives),
        "workload": replay.workload.name,
        "policy": replay.policy,
        "cores": cores,
        "jobs": len(lives),
        "makespan_s": end - begin,
        "utilisation": (work + lost) / (cores * (end - begin)),
        "useful_utilisation": work / (cores * (end - begin)),
        **_waits(lives, "wait"),
        **_waits([life for life in lives if 2 * life.arrival.cores >= cores], "wide_wait"),
        "wide_jobs": sum(2 * life.arrival.cores >= cores for life in lives),
        "preemptions": preemptions,
        "preemptions_per_job": preemptions / len(lives),
        "work_lost_core_s": lost,
        "decisions": replay.decisions,
    }


def bounded_slowdown(life: Life) -> float:
    return max(1.0, (life.wait_s + life.arrival.run_s) / max(life.arrival.run_s, SHORTEST_S))


def _waits(lives: Sequence[Life], name: str) -> dict[str, float | None]:
    waits = sorted(life.wait_s for life in lives)
    if not waits:
        return dict.fromkeys((f"{name}_mean_s", f"{name}_p95_s", f"{name}_max_s"))
    return {
        f"{name}_mean_s": sum(waits) / len(waits),
        f"{name}_p95_s": waits[int(0.95 * len(waits))],
        f"{name}_max_s": waits[-1],
    }
