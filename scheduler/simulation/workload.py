"""What a simulation plays: jobs with their true run times. Read from a trace, or generated; changed as a whole."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job to come.

    submit_s: seconds since the first one.  run_s: how long it really runs.  limit_s: how long its owner said at most,
    infinity for nothing said.  gives_way: whether it can be put down with its work saved.
    """

    id: str
    submit_s: float
    run_s: float
    cores: int
    limit_s: float = math.inf
    priority: int = 0
    project: str = ""
    gives_way: bool = True


@dataclass(frozen=True)
class Workload:
    """cores: of the machine it is for.  arrivals: by time."""

    name: str
    cores: int
    arrivals: tuple[Arrival, ...]

    def on(self, cores: int) -> Workload:
        """On another machine, without what is too wide for it."""
        return replace(self, cores=cores, arrivals=tuple(a for a in self.arrivals if a.cores <= cores))

    def squeezed(self, factor: float) -> Workload:
        """The same jobs, arriving in `factor` of the time: 0.7 is 1 / 0.7 times the load."""
        return replace(self, arrivals=tuple(replace(a, submit_s=a.submit_s * factor) for a in self.arrivals))

    def giving_way(self, share: float, seed: int = 0) -> Workload:
        """As many of the jobs able to give way, chosen by lot."""
        chance = random.Random(seed)
        return replace(self, arrivals=tuple(replace(a, gives_way=chance.random() < share) for a in self.arrivals))


def read_swf(lines: Iterable[str], name: str, *, kill: bool = True) -> Workload:
    """A trace in the Standard Workload Format (version 2.2), on the machine of its header (`MaxProcs`).

    Kept are the jobs that ran on some processors, no more than there are. kill: a job that ran past the time it asked
    for is cut there, as a real limit would; else its limit is what it ran. Raises ValueError for what is no such file.
    """
    arrivals, cores = [], 0
    for number, line in enumerate(lines, 1):
        try:
            if line.startswith(";"):
                word, _, value = line[1:].partition(":")
                cores = int(value) if word.strip() == "MaxProcs" else cores
            elif line.strip():
                arrivals.append(_arrival(line.split(), kill))
        except (ValueError, IndexError):
            raise ValueError(f"line {number} is no line of a workload trace: {line.strip()[:60]!r}") from None
    cores = cores or max((arrival.cores for arrival in arrivals), default=0)
    kept = sorted((a for a in arrivals if a.run_s > 0 and 0 < a.cores <= cores), key=lambda a: a.submit_s)
    first = kept[0].submit_s if kept else 0.0
    return Workload(name, cores, tuple(replace(a, submit_s=a.submit_s - first) for a in kept))


_SUBMIT, _RUN, _ALLOCATED, _ASKED_CORES, _ASKED_TIME = 1, 3, 4, 7, 8
"""Columns of the format, from 0; its wait and status are what another scheduler did, and are not read. A user is
no project: nobody on the log agreed to share, and the published figures are without."""


def _arrival(words: list[str], kill: bool) -> Arrival:
    submit_s, run_s, asked_s = (float(words[column]) for column in (_SUBMIT, _RUN, _ASKED_TIME))
    allocated, asked_cores = (int(float(words[column])) for column in (_ALLOCATED, _ASKED_CORES))
    if kill and asked_s > 0:
        run_s = min(run_s, asked_s)
    return Arrival(
        id=words[0],
        submit_s=submit_s,
        run_s=run_s,
        cores=allocated if allocated > 0 else asked_cores,
        limit_s=max(asked_s, run_s) if asked_s > 0 else run_s,
    )


def lublin(jobs: int, cores: int, load: float, seed: int = 0) -> Workload:
    """A generated load, after the batch jobs of Lublin and Feitelson, JPDC 63(11) 2003, without the hours of the day.

    Sizes: a quarter serial, most others powers of two, log-uniform in two stages. Run times: e to a hyper-gamma, whose
    short branch is likelier for narrow jobs. Gaps between arrivals likewise, stretched to `load` (1.0: all cores busy).
    """
    chance = random.Random(seed)
    sizes = [_size(chance, cores) for _ in range(jobs)]
    runs_s = [_run_s(chance, size) for size in sizes]
    gaps_s = [_exp_gamma(chance, 10.23, 0.4871, most=13.0) for _ in range(jobs)]
    work = sum(size * run_s for size, run_s in zip(sizes, runs_s, strict=True))
    stretch = work / (load * cores) / sum(gaps_s)
    at, arrivals = 0.0, []
    for number, (size, run_s, gap_s) in enumerate(zip(sizes, runs_s, gaps_s, strict=True), 1):
        arrivals.append(Arrival(str(number), round(at, 3), run_s, size, limit_s=run_s))
        at += gap_s * stretch
    return Workload(f"lublin-{seed}", cores, tuple(arrivals))


def _size(chance: random.Random, cores: int) -> int:
    if chance.random() < 0.244:
        return 1
    most = math.log2(cores)
    low, high = (0.8, most - 2.5) if chance.random() < 0.86 else (most - 2.5, most)
    size = 2 ** chance.uniform(low, max(low, high))
    return min(cores, max(1, 2 ** round(math.log2(size)) if chance.random() < 0.576 else round(size)))


def _run_s(chance: random.Random, size: int) -> float:
    share = min(1.0, max(0.0, 0.78 - 0.0054 * size))
    short = chance.random() < share
    return max(1.0, round(_exp_gamma(chance, *((4.2, 0.94) if short else (312.0, 0.03)), most=12.0)))


def _exp_gamma(chance: random.Random, shape: float, scale: float, most: float) -> float:
    """e to a gamma that is drawn again where it is larger than `most`: the model knows no longer times."""
    while (drawn := chance.gammavariate(shape, scale)) > most:
        pass
    return math.exp(drawn)
