"""Whether a home is being drained: nothing is started, and running work saves and hands back, until that is taken back.

The truth is a file in the home, so it outlives every process. The scheduler looks at it each time it decides.
"""

from __future__ import annotations

from singlepoint.jobs import documents
from singlepoint.jobs.clock import iso
from singlepoint.jobs.store.durable import explained, replace_file, sync_directory
from singlepoint.jobs.store.home import Home


def drain(home: Home, at: float) -> None:
    """Drain from now on; again: no harm. Raises StorageFull, NotPermitted."""
    if draining_since(home) is None:
        replace_file(home.draining, iso(at).encode(), point="drain")


def end_drain(home: Home) -> bool:
    """Start jobs again; False when the home was not being drained."""
    with explained(home.draining):
        try:
            home.draining.unlink()
        except FileNotFoundError:
            return False
        sync_directory(home.path)
    return True


def draining_since(home: Home) -> float | None:
    """When the home began to be drained, in seconds since the epoch; None when it is not."""
    try:
        return documents.time({"at": home.draining.read_text().strip()}, "at")
    except FileNotFoundError:
        return None
    except (ValueError, OSError):  # somebody made it by hand
        return home.draining.stat().st_mtime
