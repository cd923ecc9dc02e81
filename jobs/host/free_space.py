"""Disk space that is left, and how much of it jobs leave to everybody else."""

from __future__ import annotations

import shutil
from pathlib import Path

FLOOR_BYTES = 256 * 2**20
"""Free space below which a job that goes on writing is stopped, until there is room again."""


def free_bytes(path: Path) -> int:
    """Where `path` lies. Raises OSError."""
    return shutil.disk_usage(path).free
