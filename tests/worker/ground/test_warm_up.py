"""What a process takes before it is held to its memory is enough for every product that follows, and no core more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from singlepoint.worker.ground import limits
from singlepoint.worker.ground.numeric_environment import fingerprint

PRODUCT = """
import resource
import numpy as np
from singlepoint.worker.ground import limits
from singlepoint.worker.ground.process import data_bytes

x = np.ones((2000, 2000), np.float32)
y = np.empty_like(x)
limits.warm_up()
resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + 2**20,) * 2)
np.matmul(x, x, out=y)
print(y[0, 0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system limits no data")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_large_product_takes_no_memory_that_a_limit_could_refuse_it(threads: str) -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads}
    made = subprocess.run([sys.executable, "-c", PRODUCT], capture_output=True, text=True, check=False, env=environment)
    assert (made.returncode, made.stdout, made.stderr) == (0, "2000.0\n", "")


THREADS = """
import os
from singlepoint.worker.ground import limits

before = dict(os.environ)
limits.warm_up()
import threadpoolctl

assert {**before, "ARROW_DEFAULT_MEMORY_POOL": "system"} == dict(os.environ)
print(*{info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"})
"""


@pytest.mark.skipif(not fingerprint(1)["blas"].startswith("openblas"), reason="this machine: it has another BLAS")
@pytest.mark.parametrize("said", [{}, {"OPENBLAS_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2"}])
def test_who_checks_computes_on_one_thread_unless_told_otherwise(said: dict[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in limits.ONE_THREAD} | said
    made = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=False, env=environment)
    threads = min(2, len(os.sched_getaffinity(0))) if said else 1
    assert (made.returncode, made.stdout, made.stderr) == (0, f"{threads}\n", "")
