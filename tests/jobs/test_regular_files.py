"""A pipe or a device in place of a file is refused at once, and never waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from singlepoint.jobs.document_files import read_document
from singlepoint.jobs.errors import InvalidInput, NotPermitted
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.regular_files import read_regular
from singlepoint.jobs.store.home import Home, open_home


def test_a_regular_file_is_read_up_to_a_limit_and_anything_else_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(path) == b"0123456789" and read_regular(path, 3) == b"0123"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for other in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"not a regular file|directory"):
            read_regular(other)


def test_pipes_in_the_place_of_a_homes_files_and_of_a_spec_keep_nobody(home: Home, tmp_path: Path) -> None:
    os.mkfifo(home.capacity_record)
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_capacity(home)
    os.mkfifo(home.lock("scheduler"))
    assert holder(home.lock("scheduler")) is None
    (home.path / "home.json").unlink()
    os.mkfifo(home.path / "home.json")
    with pytest.raises(InvalidInput, match="is damaged"):
        open_home(home.path)
    os.mkfifo(tmp_path / "spec.toml")
    with pytest.raises(Exception, match="not a regular file"):
        read_document(tmp_path / "spec.toml")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[" * 100_000, b'{"format": 1e999}', b'{"format": 1, "uuid": 3}', b'{"uuid": "../x"}']
)
def test_a_homes_record_that_makes_no_sense_is_told_as_damaged(home: Home, content: bytes) -> None:
    (home.path / "home.json").write_bytes(content)
    with pytest.raises(InvalidInput, match="is damaged"):
        open_home(home.path)


@pytest.mark.parametrize(
    "content", [b"", b'{"budget": ' * 5000, b'{"budget": {"cpu_millis": 1e999}}', b'{"budget": 3}']
)
def test_a_capacity_that_makes_no_sense_is_told_as_damaged_with_a_way_out(home: Home, content: bytes) -> None:
    home.capacity_record.write_bytes(content)
    with pytest.raises(InvalidInput, match="delete it; the scheduler writes it anew"):
        read_capacity(home)


def test_what_lies_in_a_home_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home = open_home(tmp_path / "home")
        assert home.path.stat().st_mode & 0o777 == 0o700
        assert (home.path / "home.json").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_home_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(NotPermitted, match="anybody may write") as error:
        open_home(tmp_path)
    assert "chmod go-w" in (error.value.hint or "")
