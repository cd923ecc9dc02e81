"""What the allocator of the C library keeps of memory that was freed. Only glibc's is told; others are as they are."""

from __future__ import annotations

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT_BYTES = 16 << 20
_SMALL_BYTES = 4 << 20


def give_back_free_memory() -> None:
    """Return it to the system: after something large, or it is kept for good; before a fork, since a child that fills
    what it inherited free is not seen to grow. 10 us when there is none.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_free_memory() -> None:
    """From now on keep up to 16 MiB that arrays of less than 4 MiB had, in this process and its children: those that
    come and go tile by tile then do not get their pages anew, which takes a fifth of the time of reading a table.
    """
    import ctypes

    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_MMAP_THRESHOLD, _SMALL_BYTES)
        tell(_TRIM_THRESHOLD, _KEPT_BYTES)
