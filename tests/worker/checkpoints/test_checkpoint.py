"""Checkpoints: whole or refused, fenced, and never at the cost of an older one."""

from __future__ import annotations

import contextlib
import errno
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import StorageFull, Superseded
from singlepoint.jobs.store.job_files import CheckpointName
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.checkpoints.checkpoint import Counters, Damaged


@contextlib.contextmanager
def open_fence() -> Iterator[None]:
    yield


@contextlib.contextmanager
def closed_fence() -> Iterator[None]:
    raise Superseded("attempt 1 is not the newest")
    yield


def counters(step: int, attempt: int = 1, identity: str = "this") -> Counters:
    return Counters(step, attempt, identity, {"numpy": "1"}, {"step": step, "loss_sum": "0x1.8p+0"})


def save(directory: Path, step: int, attempt: int = 1, size: int = 100) -> Path:
    vector = np.arange(size, dtype=np.float32) + step
    return checkpoint.save(directory, counters(step, attempt), vector, fence=open_fence)


def test_what_is_saved_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    vector = np.array([1.5, -0.0, np.inf, 1e-45], np.float32)
    path = checkpoint.save(tmp_path, counters(7), vector, fence=open_fence)
    found = checkpoint.verified(path)
    parts = [np.zeros(1, np.float32), np.zeros((3, 1), np.float32).T, np.zeros(0, np.float32)]
    found.read_into(parts)
    assert b"".join(part.tobytes() for part in parts) == vector.tobytes()
    assert found.counters == counters(7)


def test_a_state_of_another_size_or_type_is_refused(tmp_path: Path) -> None:
    found = checkpoint.verified(save(tmp_path, 1))
    for part in (np.zeros(99, np.float32), np.zeros(100)):
        with pytest.raises(ValueError, match="not the state"):
            found.read_into([part])


def test_a_checkpoint_that_changes_after_it_was_verified_is_not_taken_over(tmp_path: Path) -> None:
    found = checkpoint.verified(save(tmp_path, 1))
    content = bytearray(found.path.read_bytes())
    content[-1] ^= 1
    found.path.write_bytes(content)
    with pytest.raises(Damaged):
        found.read_into([np.zeros(100, np.float32)])


def test_saving_verifying_and_reading_take_no_memory_for_a_second_state(tmp_path: Path) -> None:
    vector = np.zeros(8_000_000, np.float32)
    tracemalloc.start()
    path = checkpoint.save(tmp_path, counters(1), vector, fence=open_fence)
    checkpoint.verified(path).read_into([vector])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * 2**20


def test_what_the_machine_lacks_for_a_moment_damages_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = save(tmp_path, 20)

    def none_left(*_arguments: object, **_how: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", none_left)
    with pytest.raises(OSError, match="Too many"):
        checkpoint.newest_sound(tmp_path, "this")
    monkeypatch.undo()
    assert checkpoint.in_order(tmp_path) == [newest]


def test_a_checkpoint_that_the_disk_does_not_give_back_is_passed_over_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10)
    newest = save(tmp_path, 20)
    verified = checkpoint.verified

    def unreadable(path: Path) -> checkpoint.Checkpoint:
        if path == newest:
            raise OSError(errno.EIO, "Input/output error")
        return verified(path)

    monkeypatch.setattr(checkpoint, "verified", unreadable)
    found, passed_over = checkpoint.newest_sound(tmp_path, "this")
    assert found is not None and found.counters.step == 10
    assert [damage.path for damage in passed_over] == [newest] and newest.exists()


def test_a_checkpoint_is_a_valid_safetensors_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = save(tmp_path, 3)
    assert np.array_equal(safetensors.load_file(path)["state"], np.arange(100, dtype=np.float32) + 3)


def test_two_are_kept_and_the_newest_sound_one_is_loaded(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step)
    assert [checkpoint.name_of(path).step for path in checkpoint.in_order(tmp_path)] == [30, 20]
    found, damages = checkpoint.newest_sound(tmp_path, "this")
    assert found is not None and found.counters.step == 30 and not damages


def test_every_truncation_is_refused_and_the_older_one_used(tmp_path: Path) -> None:
    save(tmp_path, 10)
    newest = save(tmp_path, 20)
    whole = newest.read_bytes()
    for length in range(len(whole)):
        newest.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            checkpoint.verified(newest)
    found, damages = checkpoint.newest_sound(tmp_path, "this")
    assert found is not None and found.counters.step == 10
    assert [damage.path for damage in damages] == [newest]
    assert [path.name for path in checkpoint.set_aside(tmp_path)] == [f"damaged-{newest.name}"]


def test_every_flipped_byte_of_the_vector_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, 10, size=8)
    whole = bytearray(path.read_bytes())
    for position in range(len(whole) - 32, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match="checksum"):
            checkpoint.verified(path)


def test_a_header_that_promises_more_than_the_file_has_takes_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path, 10)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["state"] = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(Damaged, match="bytes"):
        checkpoint.verified(path)


def test_an_older_attempt_cannot_publish_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(Superseded):
        checkpoint.save(tmp_path, counters(5), np.zeros(3, np.float32), fence=closed_fence)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_new_checkpoint_and_not_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10)

    def full(_name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "reach", full)
    with pytest.raises(StorageFull):
        save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == [str(CheckpointName(10, 1))]


def test_checkpoints_of_another_identity_are_never_loaded(tmp_path: Path) -> None:
    save(tmp_path, 10)
    found, damages = checkpoint.newest_sound(tmp_path, "other data")
    assert found is None and len(damages) == 1


def test_a_fresh_start_ignores_and_removes_what_earlier_attempts_saved(tmp_path: Path) -> None:
    save(tmp_path, 10, attempt=1)
    save(tmp_path, 20, attempt=2)
    found, damages = checkpoint.newest_sound(tmp_path, "this", fresh_after=2)
    assert found is None and not damages and checkpoint.in_order(tmp_path) == []


def test_left_over_temporary_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / ".000000000099-0001.safetensors.tmp").write_bytes(b"half")
    assert checkpoint.newest_sound(tmp_path, "this") == (None, [])


def test_on_a_disk_with_room_for_one_more_the_older_checkpoint_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10)
    save(tmp_path, 20)

    def room_for_two(name: str) -> None:
        if name == "checkpoint.write" and len(checkpoint.in_order(tmp_path)) >= 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "reach", room_for_two)
    save(tmp_path, 30)
    assert [checkpoint.name_of(path).step for path in checkpoint.in_order(tmp_path)] == [30, 20]
