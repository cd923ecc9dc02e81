"""What the bits of a result depend on besides spec, data and seed: numpy, the BLAS, its threads, the processor.

Two runs in the same environment agree bit for bit. `differences` says why two may not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info


def fingerprint(threads: int) -> dict[str, Any]:
    """The environment of this process, with `threads` BLAS threads granted. Plain JSON values."""
    return {**_of_any_size(), "blas_threads": threads}


@functools.cache
def _of_any_size() -> dict[str, Any]:
    """What no grant changes; a process and those that it forks look once."""
    blas: dict[str, Any] = next((info for info in threadpool_info() if info["user_api"] == "blas"), {})
    features = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", ())  # none is not listed
    return {
        "singlepoint": version("singlepoint"),
        "numpy": np.__version__,
        "blas": f"{blas.get('internal_api')} {blas.get('version')}",
        "blas_architecture": blas.get("architecture"),
        "cpu_features": " ".join(features),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why results of the two environments may differ in bits; "" when they will not."""
    changed = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    return "; ".join(changed)
