"""A job's log, kept small."""

from __future__ import annotations

from pathlib import Path

import pytest

from singlepoint.worker.ground.job_log import HEAD_BYTES, LIMIT_BYTES, keep_small


@pytest.mark.parametrize("filling", [b"x" * 79 + b"\n", b"x" * 79 + b"\r", b"x"])
def test_beginning_and_end_stay_whatever_lines_there_are(tmp_path: Path, filling: bytes) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"first\n" + filling * (12 * 2**20 // len(filling)))
    for _ in range(2):
        with open(path, "ab") as file:
            file.write(filling * (6 * 2**20 // len(filling)) + b"last")
        keep_small(path)
        text = path.read_bytes()
        head, _, tail = text.partition(b"\n... lines were cut here ...\n")
        assert head.startswith(b"first\n") and HEAD_BYTES - 2**16 <= len(head) <= HEAD_BYTES
        assert tail.endswith(b"last") and LIMIT_BYTES // 2 - 2**16 <= len(tail) <= LIMIT_BYTES // 2
