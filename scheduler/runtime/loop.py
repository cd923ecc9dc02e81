"""The scheduler as it runs: keep the world true, decide, do, wait for the bell.

A pass reads the jobs that rang, tries the locks in doubt, decides until nothing is left to do, and publishes why
the head of the line waits. Bells are only hints: what a lost one would have said is found on disk, at once
after Redis was away, and now and then in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import redis

from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING, Index
from singlepoint.jobs.broker.refusals import refusal
from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.clock import Clock, now
from singlepoint.jobs.errors import (
    BrokerAway,
    HistoryBusy,
    HistoryDamaged,
    ImpossibleMove,
    InvalidInput,
    NotFound,
    NotPermitted,
    StorageFull,
    Superseded,
)
from singlepoint.jobs.host import temporaries
from singlepoint.jobs.host.capacity import Capacity, publish_capacity, read_capacity
from singlepoint.jobs.host.pressure import Pressure
from singlepoint.jobs.host.processes import boot_id, this_process
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.retry import backoff_s
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.services.live import live_workers
from singlepoint.jobs.store.durable import may_pass
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.machine.own_processes import OwnCpu
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.host.state import Core, Host
from singlepoint.scheduler.policy.host.strain import judged
from singlepoint.scheduler.policy.named import DEFAULT
from singlepoint.scheduler.policy.plan import Decision, Plan, PushAgain, Rescue
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.runtime.upkeep.deleting import Deleting
from singlepoint.scheduler.runtime.upkeep.duties import Duty, Upkeep
from singlepoint.scheduler.runtime.upkeep.expecting import EXPECTING, expect
from singlepoint.scheduler.runtime.upkeep.filling import FILLING, fill
from singlepoint.scheduler.runtime.upkeep.learning import LEARNING, learn
from singlepoint.scheduler.runtime.upkeep.lining_up import LINING_UP, line_up
from singlepoint.scheduler.runtime.upkeep.mending import MENDING, look_through, reach_redis, see_unlisted
from singlepoint.scheduler.runtime.upkeep.reserving import RESERVING, reserve
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.world import World

from .acting import DiskActs
from .choices import BudgetAt, Choices
from .metering import Metering
from .publishing import TELL_EVERY_S, Publishing
from .seeing import Sight
from .stopping import Stopping, StopSignals
from .telling import Telling

log = logging.getLogger("singlepoint.scheduler")

HISTORY_PATIENCE_S = 0.2
"""How long one job whose history somebody holds locked may keep all others waiting."""

ROUNDS = 8
"""Decisions that follow from decisions, in one pass; more wait for the next, which comes at once."""

ANXIOUS_S = 0.015
BUSY_S = 1.0
LEFT_BEHIND_S = 600.0
"""A submit takes milliseconds; what one began this long ago and did not finish, it never will."""
IDLE_S = 3.0
SAMPLE_EVERY_S = 1.0
HOST_EVERY_S = 1.0


def _empty_world(
    home: Home,
    budget: Resources,
    cores: Iterable[int],
    measure: Callable[[Resources | None, int], Resources],
    page: Callable[[Resources], Resources],
) -> tuple[World, Resources]:
    """A world without jobs, whose reserve is what was published for this budget before, or more; and what of it is the
    page's.

    Unless the budget was lowered, whatever is granted beyond it was granted before our own reserve grew.
    """
    try:
        before = read_capacity(home)
    except InvalidInput:  # damaged; it is written anew in a moment
        before = None
    same = before is not None and before.budget.memory_bytes == budget.memory_bytes
    lowered = before is None or before.budget.memory_bytes > budget.memory_bytes
    pages = page(before.page if before is not None else Resources())
    reserve = measure(before.reserve - before.page if before is not None and same else None, 0) + pages
    world = World(
        budget,
        cores,
        reserve=reserve,
        outgrown=Resources() if lowered else reserve,
        boot_id=boot_id(),
        keeps_outcomes=False,
    )
    return world, pages


class Scheduler:
    """The loop over one home. Whoever runs it holds the home's scheduler lock.

    connect: opens Redis; raises BrokerAway or redis.RedisError while it is away. measure: the reserve for our own
    processes, never below the one it is given, with room for so many workers. page: the page's part of it besides, by
    what that was before. clock, monotonic: seconds, the latter for waiting. policy: the name of the one that was
    chosen, asked at every look. own_cpu: what our own processes have used of the processor so far. budget_at: the
    budget and the cores that hold at a time, where they may change; raises SinglepointError when that cannot be told,
    and then nothing changes. pressure: how hard-pressed the machine is now. load: how busy each core was since the
    last time, and layout: where it is. keep_own_to: has our own processes run on these cores.
    is_unfinished: more is to do at once.
    """

    def __init__(
        self,
        store: JobStore,
        connect: Callable[[], redis.Redis],
        budget: Resources,
        cores: Iterable[int],
        *,
        measure: Callable[[Resources | None, int], Resources] = lambda floor, _workers: floor or Resources(),
        page: Callable[[Resources], Resources] = lambda _before: Resources(),
        policy: Callable[[], str] = lambda: DEFAULT,
        own_cpu: Callable[[], OwnCpu] = OwnCpu,
        pressure: Callable[[], Pressure] = Pressure,
        load: Callable[[], Mapping[int, float]] = dict,
        layout: Mapping[int, Core] | None = None,
        keep_own_to: Callable[[Sequence[int]], None] = lambda _cores: None,
        budget_at: BudgetAt | None = None,
        clock: Clock = now,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.store = store
        self.world, self._pages = _empty_world(store.home, budget, cores, measure, page)
        self._choices = Choices(store.home, self.world, policy, budget_at, clock, monotonic)
        self.sight = Sight(store, self.world, clock, monotonic)
        self._metering = Metering(store.home, self.world, own_cpu)
        self._disk = DiskActs(store, clock, self.sight.alive_at)
        self._redis: Telling | None = None
        self._connect = connect
        self._measure = measure
        self._page = page
        self._clock = clock
        self._monotonic = monotonic
        self._upkeep = self._duties()
        self._registered: frozenset[str] = frozenset()
        self._workers = 0  # the most that lived at a time
        self._plan = Plan()
        self._publishing = Publishing(self.world, monotonic)
        self._next_sample = 0.0
        self._pressure = pressure
        self._load = load
        self._keep_own_to = keep_own_to
        self._host = Host(layout=layout or {})
        self._next_host = 0.0
        self._stop_signals = StopSignals()
        self.is_unfinished = False

    @property
    def rules(self) -> Rules:
        """Of the policy in force."""
        return self._choices.rules

    # --- one pass ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Learn the truth from disk, every job and every lock, then publish the budget. Needs no Redis."""
        world = self.world.seen_at(self._clock())
        entries = self.store.entries()
        self.store.sweep_unaccepted(self._clock() - LEFT_BEHIND_S, entries)
        temporaries.sweep(self.store.home, self._clock() - LEFT_BEHIND_S)
        self._choices.look_for_shares()
        self.sight.remember()
        for job_id in self.store.unlisted_ids(entries):
            see_unlisted(self.sight, job_id)
        self.sight.probe(world.unprobed())
        self._publish_capacity()
        self._keep_own_to(world.cores)
        log.info(
            "scheduler_started jobs=%d cpu_millis=%d memory_bytes=%d reserve_bytes=%d reserved_cpu_millis=%d",
            sum(1 for _ in world.ids()),
            world.budget.cpu_millis,
            world.budget.memory_bytes,
            world.reserve.memory_bytes,
            world.reserved.cpu_millis,
        )

    def look(self, rung: Collection[str] = ()) -> None:
        """Take in what rang, and do all that follows. Raises redis.RedisError, BrokerAway, StorageFull, OSError."""
        telling = self._reach_redis()
        self.world.seen_at(self._clock())
        if self._choices.look(at_once=LOOK_AT_EVERYTHING in rung):
            self._publish_capacity()
            self._keep_own_to(self.world.cores)
        self._look_at_the_machine()
        for job_id in rung:
            self._answer(job_id, telling)
        more_to_do = self._upkeep.run()
        self.sight.probe_in_doubt()
        self._look_for_overdue(telling)
        self._sample(telling)
        self._metering.measure(self._clock(), self._monotonic())
        more_to_do |= self._settle(telling)
        self.is_unfinished = self._publishing.publish(telling.index, self._plan, self.rules) or more_to_do

    def _look_at_the_machine(self) -> None:
        """How busy its cores are, and whether it is short of memory, whoever uses it."""
        if self._monotonic() < self._next_host:
            return
        self._next_host = self._monotonic() + HOST_EVERY_S
        before, found = self._host.strain, self._pressure()
        strain = judged(before, found.memory, found.available_share, self.world.now)
        self._host = replace(self._host, strain=strain, load=self._load())
        told_of = strain or before
        if told_of is not None and (strain is None) != (before is None):
            log.warning("strain_began why=%r" if before is None else "strain_ended why=%r", told_of.why)
            self._publish_capacity()

    def _sample(self, telling: Telling) -> None:
        """What the running attempts tell of themselves: the one thing that is read without a bell, once a second."""
        if self._monotonic() >= self._next_sample and self.world.lines[Place.RUNNING].first is not None:
            self._next_sample = self._monotonic() + SAMPLE_EVERY_S
            self.world.sampled(telling.index.samples())

    def _answer(self, job_id: str, telling: Telling) -> None:
        """A bell rang for a job, or for all that hold something."""
        if job_id == LOOK_AT_EVERYTHING:
            for holder in list(self.world.holders()):
                self.sight.suspect(holder.id)
            return
        before, size = self.world.job(job_id), self.world.size(job_id)
        job = self.sight.see(job_id)
        if job is None:
            return
        if job.size == size:
            self.sight.suspect(job_id)
        if before is not None or job.state is State.PENDING:
            telling.moved(before, job)

    def _look_for_overdue(self, telling: Telling) -> None:
        overdue = self.sight.overdue()
        if overdue:
            run = telling.queue.run_ids()
            for job_id in overdue:
                job = self.world.job(job_id)
                self.sight.look_for(job_id, job is not None and rq_id(job_id, job.attempt) in run)

    def _settle(self, telling: Telling) -> bool:
        """Decide and do, until nothing is left to do, then tell Redis of it all; True when there may be more."""
        busy: set[str] = set()
        for _ in range(ROUNDS):
            self._plan = decide(self.world, self.rules, self._host)
            decisions = [decision for decision in self._plan.decisions if decision.job_id not in busy]
            if not decisions:
                break
            if self._host.strain is not None:
                self._host = replace(self._host, strain=self._host.strain.eased(self.world.now))
            for decision in decisions:
                try:
                    self._carry_out(decision, telling)
                # One job's trouble; all others must not wait for that.
                except (HistoryBusy, NotPermitted, OSError) as error:
                    log.warning("job_busy job=%s error=%r", decision.job_id, str(error))
                    busy.add(decision.job_id)
                except (HistoryDamaged, ImpossibleMove, Superseded) as error:
                    self.sight.lose(decision.job_id, error)
                    busy.add(decision.job_id)
            telling.send()
            self.sight.probe(self.world.unprobed())
        telling.send()
        return bool(decisions)

    def _carry_out(self, decision: Decision, telling: Telling) -> None:
        """On disk, then in the world; Redis is told at the end of the round: what fails there the next look mends."""
        before = self.world.job(decision.job_id)
        try:
            job, changed = self._disk.carry_out(decision)
        except NotFound:
            self.world.forget(decision.job_id)
            return
        self.world.see(job)
        if not changed:
            self.sight.probe([job.id])  # it moved since, or somebody holds its lock after all
        if changed and isinstance(decision, Rescue):
            telling.bury(job.id, decision.attempt)
        telling.moved(before, job, is_news=changed, again=changed and isinstance(decision, PushAgain))
        if changed:
            self.sight.handed_out(job)

    # --- Redis, and what others read ---------------------------------------------------------------------

    def _duties(self) -> Upkeep:
        """What has to be done now and then, in the order of its importance."""
        sight = self.sight
        deleting = Deleting(self.store, self.world, self._clock)
        return Upkeep(
            [
                Duty("fill", lambda: fill(self.world, self._at_hand().index), FILLING),
                Duty("mend", lambda: look_through(sight, self._at_hand(), MENDING), MENDING),
                Duty("line", lambda: line_up(sight, self._at_hand(), LINING_UP), LINING_UP),
                Duty("expect", lambda: expect(self.world), EXPECTING),
                Duty("learn", lambda: learn(self.world, self.store), LEARNING),
                Duty("reserve", lambda: reserve(self._measure_again), RESERVING),
                Duty("retention", lambda: deleting.slices(lambda: self._at_hand().index), deleting.settings),
            ],
            self._monotonic,
        )

    def _at_hand(self) -> Telling:
        assert self._redis is not None
        return self._redis

    def _reach_redis(self) -> Telling:
        """Redis, in line with what is known. Raises while it is away."""
        telling = self._redis
        if telling is None:
            connection, home = self._connect(), self.store.home
            telling = Telling(Index(connection, home.uuid), DispatchQueue(connection, home.uuid))
            self._bring_in_line(telling)
            self._redis = telling
            log.info("redis_reached")
            _, registered = telling.standing()
        else:
            is_at_hand, registered = telling.standing()
            if not is_at_hand:  # another server, or its data was lost, faster than we could notice
                self._bring_in_line(telling)
        self._count_workers(telling, registered)
        return telling

    def _bring_in_line(self, telling: Telling) -> None:
        """What workers go by at once; the rest in slices: nobody told us what happened meanwhile."""
        reach_redis(self.sight, telling)
        if not telling.index.is_complete():
            telling.is_in_line = False
            self._upkeep.at_once("fill")
        self._upkeep.at_once("mend")
        self._publishing.begin_anew()

    def _count_workers(self, telling: Telling, registered: frozenset[str]) -> None:
        """New workers need room of their own, before they work on anything."""
        if registered == self._registered:
            return
        self._registered = registered
        workers = len(live_workers(telling.queue.connection, self.store.home))
        if workers > self._workers:
            self._workers = workers
            self._measure_again()

    def _lose_redis(self, error: Exception) -> None:
        """Redis went away, or takes nothing: keep the world, and look through everything once it is back. Said once."""
        if self._redis is not None:
            log.warning("%s error=%r", "redis_refuses" if refusal(error) else "redis_away", str(error))
        self._redis = None

    def _measure_again(self) -> None:
        self._keep_own_to(self.world.cores)
        services = self._measure(self.world.reserve - self._pages, self._workers)
        self._pages = self._page(self._pages)
        reserve = services + self._pages
        if reserve != self.world.reserve:
            log.info("reserve_changed memory_bytes=%d page_bytes=%d", reserve.memory_bytes, self._pages.memory_bytes)
            self.world.budget_changed(self.world.budget, reserve)
            self._publish_capacity()

    def _publish_capacity(self) -> None:
        world = self.world
        strain = "" if self._host.strain is None else self._host.strain.why
        record = Capacity(
            budget=world.budget,
            reserve=world.reserve,
            cores=world.cores,
            process=this_process(),
            published_at=self._clock(),
            strain=strain,
            page=self._pages,
            chosen=self._choices.budget_words,
        )
        publish_capacity(self.store.home, record)

    # --- running -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until SIGTERM or SIGINT, which stop it between two decisions, never inside one."""
        with self._stop_signals.heard(), suppress(Stopping):
            self.start()
            self._go_round()
        log.info("scheduler_stopped")

    def _go_round(self) -> None:
        rung: list[str] = []
        failed = 0
        while True:
            try:
                self.look(rung)
                rung = self._stop_signals.rest(self._wait)
                failed = 0
                continue
            except (redis.RedisError, BrokerAway) as error:
                self._lose_redis(error)
            except (StorageFull, OSError) as error:
                if isinstance(error, OSError) and not may_pass(error):
                    raise
                log.warning("not_written error=%r", str(error))
                self._upkeep.at_once("mend")  # what rang is read again then
            rung = []
            failed += 1
            self._stop_signals.rest(partial(time.sleep, min(IDLE_S, backoff_s(failed) / 20)))

    def patience_s(self) -> float:
        """How long to wait for a bell before looking anyway."""
        if self.is_unfinished or self.sight.is_anxious:
            return ANXIOUS_S
        times = (self.world.next_alarm(), self._plan.look_again_at, self._choices.drain_changes_at)
        alarm = min(at for at in times if at is not None)
        longest = BUSY_S if any(True for _ in self.world.holders()) else IDLE_S
        longest = TELL_EVERY_S if self._publishing.is_behind else longest
        return min(longest, max(ANXIOUS_S, alarm - self._clock()))

    def _wait(self) -> list[str]:
        assert self._redis is not None
        return self._redis.index.wait_for_bell(self.patience_s())
