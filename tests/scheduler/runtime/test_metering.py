"""U(t) is measured once a second, from samples and from what ended attempts had not told yet."""

from __future__ import annotations

import json
import random
from pathlib import Path

import fakeredis
import pytest

from singlepoint.jobs.lifecycle.records import Sample, Usage
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.rings import RINGS_OF_A_JOB, Rings
from singlepoint.scheduler.machine.own_processes import OwnCpu
from singlepoint.scheduler.runtime.metering import FIRST_S, OWN_EVERY_S
from tests.scheduler.pretend import Bench


@pytest.fixture
def bench(store: JobStore) -> Bench:
    return Bench(store, fakeredis.FakeRedis(), cpu=4)


def tell(bench: Bench, job_id: str, cpu_s: float) -> None:
    sample = Sample(1, at=bench.now, cpu_s=cpu_s, memory_bytes=2**20)
    bench.index.report_progress(job_id, {"progress": 0.5, "sample": sample.to_json()})


def test_reserved_used_and_useful_of_a_job_that_was_killed(bench: Bench) -> None:
    begin = bench.now
    job_id = bench.submit()
    bench.look()
    assert bench.claim() == job_id
    bench.look(1)
    for second in range(1, 6):
        tell(bench, job_id, cpu_s=second * 0.8)
        bench.look(1)
    usage = Usage(wall_s=7.0, cpu_s=5.0, overhead_s=0.5).to_json()
    bench.end(job_id, Event.LOSE, end="killed", cause="SIGKILL", lost_s=1.4, usage=usage)
    bench.look(1)
    bench.look(1)

    flow = Rings(bench.store.home.utilisation).total(begin, bench.now)
    assert flow.used_core_s == pytest.approx(5.0), "as the ledger has it, though the last sample said 4.0"
    assert flow.saving_core_s == pytest.approx(0.5)
    assert flow.repeated_core_s == pytest.approx(4.5 * 1.4 / 6)
    assert flow.capacity_core_s == pytest.approx(4 * flow.seconds)
    assert 0 < flow.shares()["cpu_millis"]["useful"] < flow.shares()["cpu_millis"]["used"] < 0.25


class Kernel:
    """Counts processor time as the kernel does: of our own processes, of attempts, and of those of them that ended."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.own_s, self.ended_s = bench, 100.0, 40.0
        self.attempts_s: dict[str, float] = {}

    def own_cpu(self) -> OwnCpu:
        return OwnCpu(self.own_s, self.ended_s)

    def second(self, chance: random.Random) -> None:
        """Everything works for a second, and attempts tell most of the time."""
        self.own_s += 0.05
        for job_id in self.attempts_s:
            self.attempts_s[job_id] += chance.uniform(0.5, 1.0)
            if chance.random() < 0.8:
                sample = Sample(self._bench.load(job_id).attempt, at=self._bench.now, cpu_s=self.attempts_s[job_id])
                self._bench.index.report_progress(job_id, {"progress": 0.5, "sample": sample.to_json()})

    def gone(self, job_id: str) -> float:
        """Its process ended, and took a moment of its own to begin and to end."""
        used_s = self.attempts_s.pop(job_id)
        self.ended_s += used_s + 0.03
        return used_s


def test_the_account_of_minutes_with_kills_and_lost_attempts_is_what_the_kernel_counted(store: JobStore) -> None:
    bench, chance = Bench(store, fakeredis.FakeRedis(), cpu=4), random.Random(3)
    kernel = Kernel(bench)
    bench.own_cpu = kernel.own_cpu
    bench.new_scheduler()
    begin, failed_s = bench.now, 0.0
    for _ in range(60):
        while len(list(bench.scheduler.world.ids())) < 4:
            bench.submit()
            bench.look()
        bench.look(1)
        while bench.connection.llen(bench.queue.run.key):
            kernel.attempts_s[bench.claim()] = 0.0
        kernel.second(chance)
        for job_id in [one for one in kernel.attempts_s if chance.random() < 0.1]:
            used_s, end = kernel.gone(job_id), chance.choice(["succeeded", "killed", "failed", "lost"])
            usage = Usage(wall_s=2 * used_s, cpu_s=used_s, overhead_s=0.1).to_json()
            if end == "lost":  # with the worker above it: nobody knows what it used since it last told
                bench.die(job_id)
                bench.ring(job_id)
            elif end == "killed":
                bench.end(job_id, Event.LOSE, end=end, cause="SIGKILL", lost_s=0.5, usage=usage)
            else:
                bench.end(job_id, Event.SUCCEED if end == "succeeded" else Event.FAIL, end=end, usage=usage)
                failed_s += used_s if end == "failed" else 0.0
    for _ in range(round(OWN_EVERY_S) + 2):
        bench.look(1)

    flow = Rings(store.home.utilisation).total(begin, bench.now)
    lag_s = 0.01 * flow.capacity_core_s
    counted_s = kernel.own_s - 100 + kernel.ended_s - 40 + sum(kernel.attempts_s.values())
    parts = [flow.useful_core_s, flow.saving_core_s, flow.repeated_core_s, flow.failed_core_s]
    assert sum(parts) == pytest.approx(flow.used_core_s)
    assert sum(parts) + flow.own_core_s == pytest.approx(counted_s, abs=lag_s)
    assert sum(parts) + flow.own_core_s + flow.idle_core_s == pytest.approx(flow.capacity_core_s)
    assert flow.failed_core_s == pytest.approx(failed_s) and flow.repeated_core_s > 0


def test_what_a_job_used_of_what_it_was_granted_is_kept_once_it_has_run_some_seconds(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look(1)
    place = bench.store.home.job_files(job_id).utilisation
    for second in range(1, 30):
        tell(bench, job_id, cpu_s=second * 0.8)
        bench.look(1)
        assert place.exists() == (second + 1 >= FIRST_S)
    shares = Rings(place, RINGS_OF_A_JOB).total(bench.now - 10, bench.now).shares()
    assert shares["cpu_millis"]["used"] == pytest.approx(0.8, abs=0.02)
    assert shares["memory_bytes"]["used"] == pytest.approx(1 / 512)
    usage = Usage(wall_s=31.0, cpu_s=30.0, overhead_s=0.0).to_json()
    bench.end(job_id, Event.SUCCEED, usage=usage)
    bench.look(1)
    total = Rings(place, RINGS_OF_A_JOB).total(0.0, bench.now)
    assert 15 < total.used_core_s <= 30.0, "from then on, and at its end what it had not told"
    assert sum(path.stat().st_blocks * 512 for path in place.iterdir()) < 64 * 2**10


def test_a_time_that_nobody_measured_is_neither_idle_nor_used(bench: Bench) -> None:
    begin = bench.now
    bench.look(1)
    bench.look(3600)
    bench.look(1)

    assert Rings(bench.store.home.utilisation).total(begin, bench.now).seconds == pytest.approx(1, abs=1.01)


def test_a_full_disk_costs_the_figures_and_nothing_else(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    place: Path = bench.store.home.utilisation
    place.write_text(json.dumps("in the way"))
    for _ in range(3):
        bench.look(1)

    assert sum("utilisation_not_kept" in record.message for record in caplog.records) == 1
