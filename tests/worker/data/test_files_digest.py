"""The digest of a training's files is taken of what is read of them: when they have been parsed, it is there."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.worker.data.files_digest import FilesDigest
from singlepoint.worker.data.formats.training import data_files, read_training_data

ROWS = [(n, n / 7, "xy"[n % 2]) for n in range(20_000)]
CSV = "a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in ROWS)
JSON = "".join(json.dumps({"a": a, "b": b, "y": y}) + "\n" for a, b, y in ROWS)
CONTENTS = {
    "t.csv": CSV.encode(),
    "marked.csv": CSV.encode("utf-16"),
    "t.csv.gz": gzip.compress(CSV.encode()),
    "t.jsonl": JSON.encode(),
}


def plain_digest(files: list[Path]) -> str:
    parts = [len(content := path.read_bytes()).to_bytes(8, "little") + content for path in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("name", [*CONTENTS, "*.csv"])
def test_when_a_table_has_been_parsed_its_digest_is_there(name: str, tmp_path: Path) -> None:
    """Also of several files, each with its header looked at before the first is read."""
    if name == "*.csv":
        for file in ("1.csv", "2.csv", "3.csv"):
            (tmp_path / file).write_bytes(CSV.encode())
    else:
        (tmp_path / name).write_bytes(CONTENTS[name])
    data = DataSpec(path=name, target="y")
    files = data_files(data, tmp_path)
    expected, digest = plain_digest(files), FilesDigest(files)
    assert read_training_data(data, PreprocessingSpec(), tmp_path, opener=digest.open).rows == len(ROWS) * len(files)
    for file in files:
        file.unlink()  # nothing is read of them again
    assert digest.hexdigest() == expected


def test_what_nobody_read_in_order_is_read_at_the_end(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("empty", "small", "large", "last")]
    for path, size in zip(files, (0, 10, 3 << 20, 7), strict=True):
        path.write_bytes(bytes(n % 251 for n in range(size)))
    assert FilesDigest(files).hexdigest() == plain_digest(files)
    digest = FilesDigest(files)
    with digest.open(files[2]) as early:  # before those that come first have been read
        early.read()
    with digest.open(files[1]) as small:
        small.read(3)
        small.seek(1)
        small.read(2)
    with digest.open(files[2]) as large:
        large.seek(5)
        large.read(100)
        large.seek(0)
        large.read(200_000)
        large.seek(100_000)
        large.read(500_000)
    assert digest.hexdigest() == plain_digest(files)


def test_a_file_that_became_shorter_meanwhile_ends_the_digest_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"x" * 100)
    digest = FilesDigest([path])
    path.write_bytes(b"x" * 50)
    assert digest.hexdigest() != plain_digest([path])
