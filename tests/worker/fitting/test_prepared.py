"""Prepared once: the next attempt has the same rows without reading the files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from singlepoint.jobs.errors import Superseded
from singlepoint.jobs.spec.data import DataSpec, PreprocessingSpec
from singlepoint.jobs.spec.network import ModelSpec
from singlepoint.jobs.spec.train import TrainSpec
from singlepoint.worker.fitting import prepared
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training_set import TrainingSet


def a_set(folder: Path, target: str = "y") -> tuple[TrainingSet, Path]:
    source = folder / "t.csv"
    source.write_text("a,c,y,v\n" + "".join(f"{i % 7},{'rgb'[i % 3]},{'pq'[i % 2]},{1e9 + i}\n" for i in range(40)))
    data = DataSpec(path=str(source), target=target, features=("a", "c"))
    spec = TrainSpec(
        name="t", data=data, preprocessing=PreprocessingSpec(categorical=("c",)), model=ModelSpec(hidden=())
    )
    return load_training_set(spec, folder), source


@pytest.mark.parametrize("target", ["y", "v"])
def test_what_is_kept_comes_back_bit_for_bit(tmp_path: Path, target: str) -> None:
    data, source = a_set(tmp_path, target)
    prepared.keep(tmp_path / "kept", data, prepared.signs_of([source]), contextlib.nullcontext)
    found = prepared.kept(tmp_path / "kept", [source])
    assert found is not None
    back, changed = found
    assert changed == []
    for name in ("x", "y", "x_validation", "y_validation"):
        before, after = np.asarray(getattr(data, name)), getattr(back, name)
        assert before.dtype == after.dtype and before.tobytes() == after.tobytes()
    for name in ("task", "classes", "class_type", "target_names", "preprocessor", "target_scale", "digest"):
        assert getattr(data, name) == getattr(back, name)


def test_a_source_that_changed_since_is_told(tmp_path: Path) -> None:
    data, source = a_set(tmp_path)
    prepared.keep(tmp_path / "kept", data, prepared.signs_of([source]), contextlib.nullcontext)
    source.write_text(source.read_text() + "1,r,p,1\n")
    found = prepared.kept(tmp_path / "kept", [source])
    assert found is not None and found[1] == [str(source)]


def test_what_is_not_whole_is_not_taken(tmp_path: Path) -> None:
    data, source = a_set(tmp_path)
    assert prepared.kept(tmp_path / "kept", [source]) is None
    prepared.keep(tmp_path / "kept", data, prepared.signs_of([source]), contextlib.nullcontext)
    content = (tmp_path / "kept").read_bytes()
    for damaged in (content[:-4], content[:-4] + b"\1\2\3\4", b"", content.replace(b'"format":"2"', b'"format":"9"')):
        (tmp_path / "kept").write_bytes(damaged)
        assert prepared.kept(tmp_path / "kept", [source]) is None


def test_an_attempt_that_is_not_the_newest_keeps_nothing(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def fence():  # type: ignore[no-untyped-def]
        raise Superseded
        yield

    data, source = a_set(tmp_path)
    with pytest.raises(Superseded):
        prepared.keep(tmp_path / "kept", data, prepared.signs_of([source]), fence)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_small_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, source = a_set(tmp_path)
    assert not prepared.is_worth_keeping(data, [source], 2**30)
    monkeypatch.setattr(prepared, "LEAST_SOURCE_BYTES", 1)
    assert prepared.is_worth_keeping(data, [source], 2**30)
    assert not prepared.is_worth_keeping(data, [source], 10)
