"""What the allocator of the C library keeps of memory that was freed."""

from __future__ import annotations


def give_back_free_memory() -> None:
    """Return to the system what the allocator keeps for later: after something large, or it is kept for good; before a
    fork, since a child that fills what it inherited free is not seen to grow. Does nothing where the C library cannot
    (glibc can; 10 us when there is none).
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
