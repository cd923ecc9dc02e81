"""Flows are kept in slots of time, in files that never grow."""

from __future__ import annotations

from pathlib import Path

from singlepoint.jobs.lifecycle.flow import Flow
from singlepoint.jobs.store.rings import RINGS, Rings

SECONDS, MINUTES, HOURS = RINGS
T = 1_900_000_000.0  # a multiple of an hour and of a minute


def test_what_is_added_to_a_slot_adds_up_in_every_ring(tmp_path: Path) -> None:
    rings = Rings(tmp_path / "u")
    for second in range(3):
        rings.add(T + second, Flow(seconds=1.0, own_core_s=0.5))

    assert [at for at, _ in rings.read(SECONDS, T, T + 2)] == [T, T + 1, T + 2]
    [(_, minute)] = rings.read(MINUTES, T, T + 2)
    assert (minute.seconds, minute.own_core_s) == (3.0, 1.5)
    assert rings.total(T, T + 2) == minute


def test_what_is_counted_is_kept_beside_the_rest_also_where_it_was_not_counted_before(tmp_path: Path) -> None:
    rings = Rings(tmp_path / "u")
    rings.add(T, Flow(seconds=1.0))
    for second in range(2):
        rings.add(T + 1 + second, Flow(seconds=1.0, counted={"gpu": (2.0, 1.0)}))

    assert [flow.counted for _, flow in rings.read(SECONDS, T, T + 2)] == [{}, *[{"gpu": (2.0, 1.0)}] * 2]
    assert rings.total(T, T + 3600).counted == {"gpu": (4.0, 2.0)}


def test_a_slot_of_the_round_before_is_not_taken_for_this_one(tmp_path: Path) -> None:
    rings = Rings(tmp_path / "u")
    rings.add(T, Flow(seconds=1.0))
    later = T + SECONDS.slots

    assert list(rings.read(SECONDS, later, later)) == []
    rings.add(later, Flow(seconds=0.25))
    assert [flow.seconds for _, flow in rings.read(SECONDS, T, later)] == [0.25]


def test_the_files_never_grow_beyond_their_rings(tmp_path: Path) -> None:
    rings = Rings(tmp_path / "u")
    for day in range(30):
        rings.add(T + 86_400.0 * day + 77, Flow(seconds=1.0))
    rings.add(T + 3600.0 * HOURS.slots - 1, Flow(seconds=1.0))

    assert sum(path.stat().st_size for path in (tmp_path / "u").iterdir()) < 3 * 2**20


def test_a_damaged_or_cut_file_says_nothing_and_is_written_over(tmp_path: Path) -> None:
    rings = Rings(tmp_path / "u")
    rings.add(T, Flow(seconds=1.0))
    for path in (tmp_path / "u").iterdir():
        path.write_bytes(path.read_bytes()[:-3])

    assert list(rings.read(SECONDS, T, T)) == []
    rings.add(T, Flow(seconds=2.0))
    assert rings.total(T, T).seconds == 2.0
