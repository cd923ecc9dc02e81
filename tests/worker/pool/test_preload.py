"""What the pool has done before it forks, so that no attempt has to do it again."""

from __future__ import annotations

import subprocess
import sys

LEFT_TO_DO = """
from singlepoint.worker.pool.preload import rehearse

rehearse()

from singlepoint.jobs.spec.base import Part


def parts(kind):
    for one in kind.__subclasses__():
        yield one
        yield from parts(one)


print(*(one.__qualname__ for one in parts(Part) if not one.__pydantic_complete__))
"""


def test_no_attempt_has_to_build_what_reads_and_writes_a_spec() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT_TO_DO], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
