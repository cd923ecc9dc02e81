"""That a row's bits depend on that row alone: tried out on the BLAS and processor at hand, and recorded in the home.

Once for each process that predicts (a pool's workers have it from the pool): it takes some hundredths of a second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from singlepoint.jobs.store.durable import replace_file
from singlepoint.jobs.store.home import Home
from singlepoint.worker.ground import numeric_environment
from singlepoint.worker.nn.layers.products import Product, in_lanes, lanes_are_equal, one_by_one


@cache
def lanes_hold() -> bool:
    """Whether rows in lanes are equal on this BLAS and processor."""
    return lanes_are_equal()


def product_here() -> Product:
    """How predictions multiply here."""
    return in_lanes if lanes_hold() else one_by_one


def environment(threads: int) -> dict[str, Any]:
    """What the bits of a prediction depend on besides model and rows: see `numeric_environment`.

    The product is named only where it is not the usual one, as it is in no record of an earlier version.
    """
    return numeric_environment.fingerprint(threads) | ({} if lanes_hold() else {"product": "one by one"})


def record(home: Home) -> Mapping[str, Any]:
    """Try it, unless the home says how it went with this very BLAS and processor; answers what the home then says."""
    here = {name: value for name, value in numeric_environment.fingerprint(1).items() if name != "singlepoint"}
    found = recorded(home)
    if found.get("environment") == here and isinstance(found.get("lanes_are_equal"), bool):
        return found
    found = {"schema": 1, "environment": here, "lanes_are_equal": lanes_hold()}
    replace_file(home.blas_record, json.dumps(found, indent=1).encode() + b"\n", point="blas")
    return found


def recorded(home: Home) -> dict[str, Any]:
    """What the home says; empty when it says nothing that can be read."""
    try:
        return dict(json.loads(home.blas_record.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
