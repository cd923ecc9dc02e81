"""Images and sequences: filtered as scipy does, scaled by channel, lazily or at once with the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import Gaussian, Median, PreprocessingSpec
from singlepoint.worker.data.preprocessing import BadRow, LazyRows, array, fit_array, prepare, rows
from singlepoint.worker.data.preprocessing.denoise import denoised


def photos(n: int = 20, shape: tuple[int, ...] = (7, 6, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_median_filter_agrees_with_scipy(size: int, kind: type) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    images = photos(150).astype(kind)
    expected = ndimage.median_filter(images, size=(1, size, size, 1))
    assert np.array_equal(denoised(images, Median(type="median", size=size)), expected)  # type: ignore[arg-type]


def test_the_gaussian_filter_agrees_with_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    images = photos(shape=(12, 11, 2))
    expected = ndimage.gaussian_filter(images.astype(np.float64), sigma=(0, 1.3, 1.3, 0))
    np.testing.assert_allclose(denoised(images, Gaussian(type="gaussian", sigma=1.3)), expected, atol=1e-3)


def test_a_filter_wider_than_the_image_still_works() -> None:
    assert denoised(photos(shape=(2, 2, 1)), Median(type="median", size=7)).shape == (20, 2, 2, 1)


def test_each_channel_gets_mean_0_and_variance_1() -> None:
    raw = photos(5000, (4, 4, 3))
    fitted = fit_array(raw, np.arange(5000), PreprocessingSpec(rescale=255.0), image=True)
    answer = fitted.transform(raw).astype(np.float64)
    np.testing.assert_allclose(answer.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(answer.std(axis=(0, 1, 2)), 1, atol=1e-6)


@pytest.mark.parametrize("normalise", ["standard", "min_max"])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_a_channel_that_never_varied_gives_0_whatever_comes(normalise: str, kind: type) -> None:
    raw = np.random.default_rng(0).integers(0, 255, (20, 3, 3, 2)).astype(kind)
    raw[..., 1] = 7
    fitted = fit_array(raw, np.arange(20), PreprocessingSpec(normalise=normalise), image=True)  # type: ignore[arg-type]
    assert not fitted.transform(np.full((1, 3, 3, 2), 200, kind))[..., 1].any()
    assert fitted.transform(raw)[..., 0].std() > 0


def test_min_max_brings_pixels_between_0_and_1() -> None:
    fitted = fit_array(photos(), np.arange(20), PreprocessingSpec(normalise="min_max"), image=True)
    answer = fitted.transform(photos())
    assert answer.min() == pytest.approx(0, abs=1e-6)
    assert answer.max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("shape", [(7, 6, 3), (7, 6, 1), (9, 4)])
def test_scaled_a_piece_at_a_time_every_value_is_factor_times_it_and_shift(
    kind: type, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array, "CACHED_VALUES", 3 * int(np.prod(shape)) + 1)
    raw = photos(shape=shape).astype(kind)
    fitted = fit_array(raw, np.arange(20), PreprocessingSpec(rescale=255.0), image=len(shape) == 3)
    exact: type[np.floating[Any]] = np.float32 if kind is np.uint8 else np.float64
    scale, offset = np.array(fitted.scale), np.array(fitted.offset)
    factor, shift = (1 / (255.0 * scale)).astype(exact), (-offset / scale).astype(exact)
    assert len(set(factor.tolist())) == shape[-1]
    expected = np.add(np.multiply(raw.astype(exact), factor), shift).astype(np.float32)
    assert np.array_equal(fitted.transform(raw), expected)


def test_a_grey_image_gets_a_channel_axis_and_a_sequence_does_not() -> None:
    raw = photos(shape=(7, 6))
    assert fit_array(raw, np.arange(20), PreprocessingSpec(), image=True).transform(raw).shape == (20, 7, 6, 1)
    assert fit_array(raw, np.arange(20), PreprocessingSpec(), image=False).transform(raw).shape == (20, 7, 6)


@pytest.mark.parametrize("denoise", [None, Median(type="median"), Gaussian(type="gaussian")])
def test_lazy_rows_have_the_bits_of_rows_prepared_at_once(
    denoise: Median | Gaussian | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LAZY_BYTES", 0)
    raw = photos(100)
    fitted = fit_array(raw, np.arange(50), PreprocessingSpec(denoise=denoise, rescale=255.0), image=True)
    chosen = np.arange(10, 90)
    lazy, whole = prepare(raw, chosen, fitted), fitted.transform(raw)
    assert isinstance(lazy, LazyRows)
    out = np.empty((3, 7, 6, 3), np.float32)
    lazy.take_rows(np.array([5, 0, 79]), out)
    assert out.tobytes() == whole[[15, 10, 89]].tobytes()
    assert lazy[20:40].tobytes() == whole[30:50].tobytes()


def test_a_value_that_is_not_finite_names_its_row() -> None:
    raw = np.zeros((5, 3, 3))
    raw[3, 1, 1] = np.nan
    with pytest.raises(BadRow, match="row 4"):
        fit_array(raw, np.arange(5), PreprocessingSpec(), image=True)
    fitted = fit_array(raw, np.arange(3), PreprocessingSpec(), image=True)
    with pytest.raises(BadRow, match="row 4"):
        fitted.transform(raw)


def test_large_offsets_keep_their_small_differences() -> None:
    raw = 1e9 + np.random.default_rng(3).normal(size=(500, 3, 1))
    answer = fit_array(raw, np.arange(500), PreprocessingSpec(), image=False).transform(raw)
    assert np.corrcoef(answer.ravel(), raw.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("options", [{"categorical": ["a"]}, {"impute": "mean"}, {"denoise": {"type": "median"}}])
def test_options_for_other_data_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(options))):
        fit_array(np.zeros((5, 3, 3)), np.arange(5), PreprocessingSpec.model_validate(options), image=False)


def test_another_shape_than_the_trained_one_is_refused() -> None:
    fitted = fit_array(photos(), np.arange(20), PreprocessingSpec(), image=True)
    with pytest.raises(InvalidInput, match=r"\(n, 7, 6, 3\)"):
        fitted.transform(photos(shape=(6, 7, 3)))
