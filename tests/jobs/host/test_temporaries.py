"""What a dead process left half written goes; what may still be written stays."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from singlepoint.jobs.host import temporaries
from singlepoint.jobs.store.home import Home

DEAD = 2**22 - 7
"""A process id beyond what the machine gives out by itself, or long free."""


def test_only_old_files_of_dead_processes_go(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    version = home.models / "m" / "1"
    version.mkdir(parents=True)
    old = [home.path / f".capacity.json.{DEAD}.tmp", version / f".model.json.{DEAD}.tmp"]
    living = home.path / f".capacity.json.{os.getpid()}.tmp"
    ours = [home.path / "home.json", home.path / ".mine.tmp"]
    for path in (*old, living, *ours):
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    (tmp_path / f"singlepoint-{DEAD}-abc").mkdir()
    os.utime(tmp_path / f"singlepoint-{DEAD}-abc", (1, 1))
    fresh = home.path / f".http.json.{DEAD}.tmp"
    fresh.write_bytes(b"x")
    with temporaries.own_directory() as own:
        temporaries.sweep(home, time.time() - 60)
        assert Path(own).is_dir()
    assert not any(path.exists() for path in old) and not list(tmp_path.glob("singlepoint-*"))
    assert all(path.exists() for path in (living, fresh, *ours))
