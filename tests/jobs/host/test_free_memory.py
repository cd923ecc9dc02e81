"""Memory that comes and goes is kept, and not given anew each time."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

ROUNDS, ARRAYS, PAGES = 50, 6, 256

COMES_AND_GOES = f"""
import resource, sys
from singlepoint.jobs.host.free_memory import keep_free_memory
if sys.argv[1] == "kept":
    keep_free_memory()
for _ in range({ROUNDS}):
    arrays = [b"x" * ({PAGES} << 12) for _ in range({ARRAYS})]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    """How many pages a process is given that uses six mebibytes again and again."""
    return int(subprocess.check_output([sys.executable, "-c", COMES_AND_GOES, how]))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="of this allocator nothing can be asked")
def test_memory_that_is_kept_is_not_given_page_by_page_again() -> None:
    once = ARRAYS * PAGES
    assert faults("given back") - faults("kept") > 10 * once
