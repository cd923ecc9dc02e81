"""Parts of a prediction: each row counted exactly once, whatever was cut off where."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.errors import Superseded
from singlepoint.worker.scoring.parts import Shards
from singlepoint.worker.scoring.scored import Scored


@contextlib.contextmanager
def open_fence() -> Iterator[None]:
    yield


@contextlib.contextmanager
def closed_fence() -> Iterator[None]:
    raise Superseded("not the newest")
    yield


def shards(directory: Path, attempt: int = 1) -> Shards:
    return Shards(directory, attempt, open_fence)


def written(directory: Path, parts: int = 3) -> Shards:
    one = shards(directory)
    one.resume()
    for part in range(parts):
        one.write(Scored(f"row {2 * part}\n".encode()), 1)
        one.write(Scored(f"row {2 * part + 1}\n".encode(), {"c": 1, f"d{part}": 2}, f"<{part}>".encode()), 1)
        one.count({"offset": 2 * part + 2})
    return one


WHOLE = b"head\n" + b"".join(f"row {n}\n".encode() for n in range(6))


def assembled(one: Shards, target: Path) -> bytes:
    digest = one.assemble(target, b"head\n")
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    return target.read_bytes()


def test_the_output_is_the_counted_parts_in_order(tmp_path: Path) -> None:
    assert assembled(written(tmp_path / "parts"), tmp_path / "out") == WHOLE


def test_a_later_attempt_goes_on_where_the_counted_rows_end(tmp_path: Path) -> None:
    first = written(tmp_path, parts=2)
    first.write(Scored(b"row 4\n"), 1)  # written, not counted: the process dies here
    second = shards(tmp_path, attempt=2)
    assert second.resume() == [] and second.end_row == 4 and second.cursor == {"offset": 4}
    second.write(Scored(b"row 4\nrow 5\n"), 2)
    second.count({"offset": 6})
    assert assembled(second, tmp_path / "out") == WHOLE


@pytest.mark.parametrize("cut", range(2, 80, 7))
def test_a_torn_manifest_counts_only_whole_lines(tmp_path: Path, cut: int) -> None:
    written(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-cut])
    later = shards(tmp_path, attempt=2)
    later.resume()
    rows = later.end_row
    assert rows in (2, 4) and later.cursor == {"offset": rows}
    later.write(Scored(b"".join(f"row {n}\n".encode() for n in range(rows, 6))), 6 - rows)
    later.count({"offset": 6})
    assert assembled(later, tmp_path / "out") == WHOLE


def test_no_byte_of_a_counted_line_can_change_and_make_other_rows_of_it(tmp_path: Path) -> None:
    written(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    content = manifest.read_bytes()
    began = content.index(b"\n") + 1
    for at in range(began, content.index(b"\n", began)):
        changed = bytearray(content)
        changed[at] ^= 1
        manifest.write_bytes(changed)
        later = shards(tmp_path, attempt=2)
        later._forget_the_rest = lambda: None  # type: ignore[method-assign]
        later.resume()
        assert (later.end_row, later.cursor) == (2, {"offset": 2}), changed


def test_a_line_that_0_1_0_wrote_counts(tmp_path: Path) -> None:
    written(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        del line["line_crc32"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert shards(tmp_path, attempt=2).resume() == []


def test_a_damaged_part_and_all_after_it_are_done_again(tmp_path: Path) -> None:
    written(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    (tmp_path / lines[1]["file"]).write_bytes(b"row X\nrow 3\n")
    later = shards(tmp_path, attempt=2)
    assert later.resume() == [f"{lines[1]['file']} does not match its checksum"]
    assert later.end_row == 2
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 1


def test_an_older_attempt_cannot_count_rows(tmp_path: Path) -> None:
    written(tmp_path, parts=1)
    before = (tmp_path / "manifest.jsonl").read_bytes()
    late = Shards(tmp_path, 1, closed_fence)
    late.write(Scored(b"row 2\n"), 1)
    with pytest.raises(Superseded):
        late.count({"offset": 3})
    assert (tmp_path / "manifest.jsonl").read_bytes() == before


def test_what_training_never_saw_is_counted_with_the_rows_and_survives_them(tmp_path: Path) -> None:
    expected = {"c": 3, "d0": 2, "d1": 2, "d2": 2}
    one = written(tmp_path)
    one.write(Scored(b"row 6\n", {"c": 9}), 1)  # not counted
    assert (one.unseen, one.compared()) == (expected, b"<0><1><2>")
    again = shards(tmp_path, 2)
    assert (again.resume(), again.unseen, again.compared()) == ([], expected, b"<0><1><2>")


def test_what_became_of_a_piece_crosses_processes_as_bytes() -> None:
    for scored in (Scored(b""), Scored(b"1,2\n3\n", {"a\nb": 2}, b"\n\0")):
        assert Scored.unpacked(scored.packed()) == scored and scored.packed()
