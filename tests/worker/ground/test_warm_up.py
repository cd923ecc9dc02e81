"""What a process takes before it is held to its memory is enough for every product that follows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
