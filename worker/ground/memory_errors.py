"""Every way to be told that there is no memory: by Python and numpy, by Arrow, by threads that find no stack, by the
operating system. Pure.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

_SAYINGS = (
    "can't start new thread",  # Python: no memory for a stack
    "failed to launch worker thread",  # Arrow: likewise
    "cannot allocate memory",
    "std::bad_alloc",
)


def lack_of_memory(error: BaseException) -> str | None:
    """What was said of it, if an error is for want of memory, itself or by what caused it; None for any other."""
    return next((str(one) or type(one).__name__ for one in _causes(error) if _is_lack(one)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_lack(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error).lower()
    return isinstance(error, Exception) and any(saying in said for saying in _SAYINGS)
