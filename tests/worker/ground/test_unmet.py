"""Terms are not only set but looked at."""

from __future__ import annotations

import os

import pytest
from threadpoolctl import threadpool_limits

from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.worker.ground import limits


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this machine has no affinity")
def test_terms_that_are_not_kept_are_told() -> None:
    limits.warm_up()
    allowed = sorted(os.sched_getaffinity(0))
    with threadpool_limits(limits=1, user_api="blas"):
        assert limits.unmet(Terms(Resources(), cores=tuple(allowed))) == ""
        assert f"it runs on cores {allowed}" in limits.unmet(Terms(Resources(), cores=(allowed[-1] + 1,)))
    with threadpool_limits(limits=2, user_api="blas"):
        assert "2 threads, not 1" in limits.unmet(Terms(Resources(), cores=(allowed[0],)))
