"""How long jobs take: a distribution from what like jobs took, sharpened by progress once a job runs. Pure.

Run times of like jobs are taken as log-normal around a line: a start, and so much for each piece of work (an epoch).
Few of them leave doubt: the spread is held loosely, as if one more job had been seen that was off by `DOUBT`, and the
interval widens with the errors of mean and spread.

A job that is like none stands by those of its kind (trainings, predictions, commands): around a line by what each was
reckoned to take, of commands by what they took. Where none of its kind was seen, it is what is reckoned that counts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.records import Sample
from singlepoint.jobs.lifecycle.states import State

REMEMBERED, NEWEST = 20, 10
"""Of like jobs the last so many count; for whoever asks when, the last of these say where the middle is: what a machine
does changes, by the hour."""

RENEWED_AT = frozenset({1, 3, 10})
DRIFT = 1.5
"""By one estimate all like jobs stand in line, so that they keep their order, until so many were seen, or until the
newer ones take so many times longer or shorter. Whoever asks when is told by the newest."""

DOUBT, KIND_DOUBT = 0.25, 1.5
START_S, START_HELD = 0.3, 0.04
"""What the start takes where jobs of one size alone were seen, and how that counts against what was seen, whose errors
count as shares: a second off like a fifth."""

OFF_REMEMBERED = 200
NEAR = 3
TOGETHER_HELD = 50
LEAST_OFF_OF = 3
"""By how much jobs of whatever kind were off is remembered of so many; those that ended within so many of each other
tell what they have in common; held loosely, as if so many pairs had had nothing. Off is who was expected by so many."""

Z80 = 1.2816
LEAST_S = 0.001

EARLIEST_S = 3.0
"""Progress of fewer seconds says little: the start is not like the rest."""


@dataclass(frozen=True)
class Estimate:
    """Seconds: one in ten takes less than low_s, half less than median_s, one in ten more than high_s.

    source: `like`, what like jobs took, `kind`, what others of the kind took, or `progress`.
    """

    low_s: float
    median_s: float
    high_s: float
    source: str

    def at(self, normal: float) -> float:
        """The value at so many standard deviations of the logarithm."""
        spread = math.log(self.high_s / self.median_s) if normal > 0 else math.log(self.median_s / self.low_s)
        return self.median_s * math.exp(normal / Z80 * spread)

    def off(self, took_s: float) -> float:
        """The inverse, at most three: how far from the middle that was."""
        far = math.log(max(took_s, LEAST_S) / self.median_s)
        edge = math.log(self.high_s / self.median_s if far > 0 else self.median_s / self.low_s)
        return max(-3.0, min(3.0, Z80 * far / edge)) if edge else 0.0


STARTING = Estimate(0.02, 0.06, 0.3, "nothing")
"""Seconds between a grant and the work, where nothing was learned yet."""


@dataclass(frozen=True)
class Took:
    """Seconds that one job took, and the work that it had to do; 0 where nobody could tell."""

    work: float
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Pace:
    """start_s and, for each piece of work, piece_s: a line through what like jobs took.  around: the times that they
    took over those of the line."""

    start_s: float
    piece_s: float
    around: Estimate

    def moved_to(self, took: Sequence[tuple[float, float]]) -> Pace:
        """The same, as wide around a line through the middle of these: work, and the seconds that it took."""
        off = [math.log(max(took_s, LEAST_S) / self.takes(work).median_s) for work, took_s in took]
        times, around = math.exp(sum(off) / len(off)), self.around
        moved = Estimate(times * around.low_s, times * around.median_s, times * around.high_s, around.source)
        return replace(self, around=moved)

    def takes(self, work: float) -> Estimate:
        line_s, around = self.start_s + self.piece_s * work, self.around
        return Estimate(line_s * around.low_s, line_s * around.median_s, line_s * around.high_s, around.source)


Group = tuple[str, bool]
"""A likeness, or a kind of jobs; and whether the work of its jobs is known: those of which it is not tell nothing of a
line."""

ROUGHLY = 4.0
"""What is reckoned from shapes alone may take so many times less, or more."""


class Paces:
    """What the jobs of each group took.  newest, stands: by which they are foreseen, and by which they stand in line.

    doubt: as if one more job had been seen that was so far off.
    """

    def __init__(self, doubt: float) -> None:
        self.took: dict[Group, deque[Took]] = {}
        self.newest: dict[Group, Pace] = {}
        self.stands: dict[Group, Pace] = {}
        self._doubt = doubt

    def take_in(self, group: Group, took: Took) -> None:
        self.took.setdefault(group, deque(maxlen=REMEMBERED)).append(took)

    def is_to_renew(self, group: Group) -> bool:
        """Whether so many were seen now that whoever stands by them stands by the newest."""
        return len(self.took[group]) in RENEWED_AT

    def renewed(self, group: Group) -> bool:
        """Reckon its pace anew; whether it stands by another now."""
        known, stands = self.took[group], self.stands.get(group)
        took = [(one.work, one.wall_s) for one in known]
        new = _pace(took, self._doubt)
        self.newest[group] = new.moved_to(took[-NEWEST:])
        if stands is not None and len(known) not in RENEWED_AT:
            was_s, is_s = (pace.takes(known[-1].work).median_s for pace in (stands, new))
            if max(is_s / was_s, was_s / is_s) < DRIFT:
                return False
        self.stands[group] = new
        return True


class Experience:
    """What jobs took, by their likeness and by their kind."""

    def __init__(self) -> None:
        self._alike, self._kinds = Paces(DOUBT), Paces(KIND_DOUBT)
        self._started: deque[float] = deque(maxlen=REMEMBERED)
        self._off: deque[float] = deque(maxlen=OFF_REMEMBERED)

    def learn(self, entries: Iterable[Entry]) -> set[str]:
        """Jobs that have ended, oldest first; those that succeeded teach. The likenesses, and kinds, that stand in line
        by another estimate now.

        Of many at once, as when a scheduler begins, only the last are each compared with what was expected of them.
        """
        teaching = [entry for entry in entries if entry.like and entry.state is State.SUCCEEDED and _took_s(entry) > 0]
        news = self._catch_up(teaching[:-OFF_REMEMBERED])
        for entry in teaching[-OFF_REMEMBERED:]:
            estimate = self.run_time(entry.like, entry.work)
            if estimate is not None and len(self._alike.took.get(_likeness(entry), ())) >= LEAST_OFF_OF:
                self._off.append(estimate.off(_took_s(entry)))
            news |= {group[0] for paces, group in self._take_in(entry) if paces.renewed(group)}
        return news

    def _catch_up(self, entries: Iterable[Entry]) -> set[str]:
        """Learn of many, each group's pace only as often as it may matter; whose changed."""
        news, last = set[str](), set[tuple[Paces, Group]]()
        for entry in entries:
            last |= (groups := self._take_in(entry))
            news |= {group[0] for paces, group in groups if paces.is_to_renew(group) and paces.renewed(group)}
        return news | {group[0] for paces, group in last if paces.renewed(group)}

    def _take_in(self, entry: Entry) -> set[tuple[Paces, Group]]:
        """The groups that it belongs to."""
        account, took_s = entry.account, _took_s(entry)
        groups = {(self._alike, _likeness(entry)): entry.work, (self._kinds, _kind(entry)): entry.reckoned_s}
        for (paces, group), work in groups.items():
            paces.take_in(group, Took(work, took_s, account.cpu_s))
        if entry.cores and sum(account.ends.values()) == 1 and not account.paused_s:  # else nobody can tell
            self._started.append(account.granted_core_s / entry.cores - account.wall_s)
        return set(groups)

    def starting(self) -> Estimate:
        """Seconds between a grant and the beginning of the work: a process starts, whatever the job."""
        return _log_normal(self._started) if self._started else STARTING

    def together(self) -> float:
        """Which share of what makes jobs longer or shorter than expected is the machine's, and so meets all that run at
        the time alike: as far as those that ended one after another were off alike."""
        off = tuple(self._off)
        spread = sum(one**2 for one in off) / max(1, len(off))
        alike = [one * other for apart in range(1, NEAR + 1) for one, other in zip(off, off[apart:], strict=False)]
        return min(1.0, max(0.0, sum(alike) / (len(alike) + TOGETHER_HELD) / spread)) if spread else 0.0

    def run_time(self, like: str, work: float = 0.0) -> Estimate | None:
        """Seconds from nothing to the end of so much work, None when no like job is known."""
        return expected(self._alike.newest, like, work)

    def standing(self, like: str, work: float = 0.0) -> Estimate | None:
        """The same, as far as it matters for who goes first."""
        return expected(self._alike.stands, like, work)

    def of_kind(self, kind: str, reckoned_s: float) -> Estimate | None:
        """The same of a job that is like none, by what others of its kind took; see `expected_of_kind`."""
        return expected_of_kind(self._kinds.stands, kind, reckoned_s)

    def paces(self, likenesses: Set[str]) -> dict[Group, Pace]:
        """By which jobs of these likenesses, and of every kind, stand in line."""
        alike = {group: pace for group, pace in self._alike.stands.items() if group[0] in likenesses}
        return alike | self._kinds.stands

    def cpu_time(self, like: str, work: float = 0.0) -> Estimate | None:
        """The same in seconds of processor time."""
        known = self._alike.took.get((like, work > 0)) or self._alike.took.get((like, False)) or ()
        took = [(one.work, one.cpu_s) for one in known if one.cpu_s > 0]
        return _pace(took, DOUBT).moved_to(took[-NEWEST:]).takes(work) if took else None


def _likeness(entry: Entry) -> Group:
    return entry.like, entry.work > 0


def _kind(entry: Entry) -> Group:
    return entry.kind, entry.reckoned_s > 0


def _took_s(entry: Entry) -> float:
    account = entry.account
    return account.wall_s - account.paused_s - account.lost_s


def expected(paces: Mapping[Group, Pace], like: str, work: float) -> Estimate | None:
    """Of so much work, by the pace of its like; None when that is not among these."""
    pace = paces.get((like, work > 0)) or paces.get((like, False))
    return None if pace is None else pace.takes(work)


def expected_of_kind(paces: Mapping[Group, Pace], kind: str, reckoned_s: float) -> Estimate | None:
    """Of a job that is like none, by the pace of its kind, or as it is reckoned; None where neither is known."""
    pace = paces.get((kind, reckoned_s > 0))
    if pace is not None:
        return replace(pace.takes(reckoned_s), source="kind")
    if not reckoned_s:
        return None
    return Estimate(reckoned_s / ROUGHLY, START_S + reckoned_s, START_S + ROUGHLY * reckoned_s, "kind")


def _pace(took: Sequence[tuple[float, float]], doubt: float) -> Pace:
    """Work, and the seconds that it took: the line with the least errors, each as a share of the time that was seen."""
    both = [(work, max(took_s, LEAST_S)) for work, took_s in took]
    ones = START_HELD + sum(1 / took_s**2 for _, took_s in both)
    mixed, squares = (sum(work**power / took_s**2 for work, took_s in both) for power in (1, 2))
    start, pieces = START_HELD * START_S + sum(1 / took_s for _, took_s in both), sum(w / took_s for w, took_s in both)
    start_s, piece_s = start / ones, 0.0
    if squares:
        determinant = ones * squares - mixed**2
        start_s, piece_s = (
            (start * squares - pieces * mixed) / determinant,
            (ones * pieces - mixed * start) / determinant,
        )
        if piece_s < 0:
            start_s, piece_s = start / ones, 0.0
        elif start_s < 0:
            start_s, piece_s = 0.0, pieces / squares
    return Pace(start_s, piece_s, _log_normal([took_s / (start_s + piece_s * work) for work, took_s in both], doubt))


def _log_normal(values: Collection[float], doubt: float = DOUBT) -> Estimate:
    logs = [math.log(max(value, LEAST_S)) for value in values]
    mean, count = sum(logs) / len(logs), len(logs)
    variance = (doubt**2 + sum((one - mean) ** 2 for one in logs)) / count
    student = Z80 + (Z80**3 + Z80) / (4 * count)  # of few, who knows how far they spread (Fisher's expansion of t)
    spread = student * math.sqrt(variance * (1 + 1 / count))
    return Estimate(math.exp(mean - spread), math.exp(mean), math.exp(mean + spread), "like")


def by_progress(sample: Sample, paused_s: float = 0.0) -> Estimate | None:
    """Seconds that a running attempt still needs, as of its sample; None while too little is done to tell.

    paused_s: how long of its time it has stood still.
    """
    done, worked_s = sample.progress - sample.began_progress, sample.wall_s - paused_s
    if done <= 0 or worked_s < EARLIEST_S:
        return None
    left_s = max(LEAST_S, worked_s * (1 - sample.progress) / done)
    spread = math.exp(Z80 * (0.05 + 0.3 * (1 - sample.progress) / (1 + 20 * done)))
    return Estimate(left_s / spread, left_s, left_s * spread, "progress")


def what_is_left(whole: Estimate, ran_s: float) -> Estimate:
    """Of a job that has run for so long already. One that outran what was expected is taken to be of the slow ones."""
    least = 0.1 * max(whole.median_s, ran_s)
    return Estimate(
        max(whole.low_s - ran_s, 0.5 * least),
        max(whole.median_s - ran_s, least),
        max(whole.high_s - ran_s, 2 * least),
        whole.source,
    )
