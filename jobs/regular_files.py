"""Opening what somebody else may have put there: regular files only.

A pipe or a device in place of a file would keep whoever opens it waiting for ever, or feed it without end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def regular(path: str, flags: int) -> int:
    """For `open(…, opener=…)`: a regular file; raises OSError for a pipe or a device, which could keep us for ever."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


def read_regular(path: Path, most_bytes: int = 2**22) -> bytes:
    """What a small file holds; one byte more than `most_bytes` at most. Raises OSError, as `regular` does."""
    with open(path, "rb", opener=regular, buffering=0) as file:
        return file.read(most_bytes + 1)
