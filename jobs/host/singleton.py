"""At most one of a kind: a kernel lock on a file that says who holds it.

The lock is the kernel's, so it ends with its holder, however that ends, and with every process the holder
passed it on to. The file's text (the holder's pid, start and boot) is only for those who want to tell it
something; a text whose process is gone means nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import NotNow
from singlepoint.jobs.regular_files import read_regular
from singlepoint.jobs.store.durable import explained

from .processes import ProcessId, this_process

_TEXT_BYTES = 256


def acquire(path: Path) -> int:
    """Take the lock at `path` and sign it; returns the descriptor that holds it, closed by exec.

    Raises NotNow, naming the holder, when somebody else has it.
    """
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        other = holder(path)
        who = f"process {other.pid}" if other else "a process that has not signed it"
        raise NotNow(f"{path.stem} is already running: {who} holds {path}") from None
    with explained(path):
        # Always the same length, written over the old text: so a full disk does not keep anybody from starting.
        os.pwrite(descriptor, json.dumps(this_process().to_json()).encode().ljust(_TEXT_BYTES), 0)
    return descriptor


def holder(path: Path) -> ProcessId | None:
    """The live process that signed the lock at `path` last; None when it is gone or nobody ever did."""
    try:
        signed = ProcessId.from_json(documents.parse_object(read_regular(path)))
    except (OSError, Malformed):
        return None
    return signed if signed.is_alive() else None
