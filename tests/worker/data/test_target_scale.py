"""Values far from 0, or far apart, are learned as well as others, and come back with their digits."""

from __future__ import annotations

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.target_scale import TargetScale, fit_target_scale


@pytest.mark.parametrize("values", [
    1.7e9 + 10.0 * np.arange(9.0),
    np.array([1e-9, 2e-9, 5e-9]),
    np.array([-3e37, 4e38, 1e39]),
    np.array([5.0, 5.0]),
])  # fmt: skip
def test_values_come_back_as_they_were(values: np.ndarray) -> None:
    column = values[:, None]
    scale = fit_target_scale(column)
    inside = scale.inward(column)
    assert inside.dtype == np.float32
    assert abs(inside.mean()) < 1e-6
    np.testing.assert_allclose(scale.outward(inside), column, rtol=1e-15, atol=3e-7 * scale.scale[0])


def test_mean_and_deviation_of_large_values_are_those_of_their_differences() -> None:
    scale = fit_target_scale(1e15 + np.arange(101.0)[:, None])
    assert scale.offset == (1e15 + 50,)
    assert scale.scale[0] == pytest.approx(np.arange(101).std(), rel=1e-12)


def test_each_target_has_a_scale_of_its_own() -> None:
    values = np.stack([np.arange(10.0), 1e6 * np.arange(10.0)], axis=1)
    assert fit_target_scale(values).inward(values).std(axis=0) == pytest.approx([1, 1])


def test_values_too_large_to_scale_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"data\.target: has values too large"):
        fit_target_scale(np.array([[1e300], [-1e300]]))


def test_a_record_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        TargetScale(offset=(0.0,), scale=(1.0, 2.0))
