"""What a simulation plays: jobs with their true run times. Read from a Standard Workload Format file, or generated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job to come.

    submit_s: seconds since the first one.  run_s: how long it really runs.  limit_s: how long its owner said at most.
    """

    id: str
    submit_s: float
    run_s: float
    cores: int
    limit_s: float
    project: str = ""
    gives_way: bool = True


@dataclass(frozen=True)
class Workload:
    """cores: of the machine it ran on.  arrivals: by time."""

    name: str
    cores: int
    arrivals: tuple[Arrival, ...]


def read_swf(lines: Iterable[str], name: str, cores: int | None = None, *, kill: bool = True) -> Workload:
    """A trace in the Standard Workload Format (version 2.2, Feitelson).

    Kept are the jobs that ran on some processors, no more than there are. Killed (the default), a job that ran past the
    time it asked for is cut there; else its limit is what it ran. Raises ValueError for what is no such file.
    """
    arrivals, most = [], cores
    for number, line in enumerate(lines, 1):
        if line.startswith(";"):
            word, _, value = line[1:].partition(":")
            if word.strip() == "MaxProcs" and cores is None:
                most = int(value)
        elif line.strip():
            try:
                arrival = _arrival(line.split(), kill)
            except (ValueError, IndexError) as error:
                raise ValueError(f"line {number} is no job of a workload trace: {error}") from None
            if arrival.run_s > 0 and arrival.cores > 0:
                arrivals.append(arrival)
    if most is None:
        most = max((arrival.cores for arrival in arrivals), default=0)
    kept = sorted((a for a in arrivals if a.cores <= most), key=lambda a: a.submit_s)
    first = kept[0].submit_s if kept else 0.0
    return Workload(name, most, tuple(replace(a, submit_s=a.submit_s - first) for a in kept))


def _arrival(words: list[str], kill: bool) -> Arrival:
    submit, run, allocated, asked_cores, asked_s = (float(words[n]) for n in (1, 3, 4, 7, 8))
    if kill and asked_s > 0:
        run = min(run, asked_s)
    cores = int(allocated if allocated > 0 else asked_cores)
    return Arrival(words[0], submit, run, cores, max(asked_s, run) if asked_s > 0 else run, project=words[11])
