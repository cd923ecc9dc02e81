"""The codec of tensors: blocks of any layout, hashed as they pass."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from singlepoint.worker.models import tensors

NUMBERS = np.arange(120, dtype=np.float32)
TENSORS = {
    "plain": NUMBERS.reshape(10, 12),
    "turned": NUMBERS.reshape(4, 5, 6).transpose(2, 0, 1),
    "every other": NUMBERS[::2],
    "double": NUMBERS.astype(np.float64).reshape(6, 20).T,
    "none": np.zeros((0, 3), np.float32).T,
}


@pytest.mark.parametrize("block_bytes", [8, 56, 2**20])
def test_any_layout_is_written_in_c_order_and_read_into_any_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(tensors, "BLOCK_BYTES", block_bytes)
    path, written, seen = tmp_path / "t", hashlib.sha256(), hashlib.sha256()
    with open(path, "wb") as file:
        size = tensors.write(file, TENSORS, {"format": "pt"}, written.update)
    content = path.read_bytes()
    assert (size, written.hexdigest()) == (len(content), hashlib.sha256(content).hexdigest())
    assert content.endswith(b"".join(tensor.tobytes() for tensor in TENSORS.values()))
    filled = {name: np.full_like(tensor, -1) for name, tensor in TENSORS.items()}  # keeps the layout
    with open(path, "rb") as file:
        header = tensors.read_header(file, seen.update)
        for name in header.places:
            tensors.read(file, filled[name], seen.update)
    assert seen.hexdigest() == written.hexdigest()
    assert all(np.array_equal(filled[name], tensor) for name, tensor in TENSORS.items())


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path, tensor = tmp_path / "t", np.zeros(100_000, np.float32)
    with open(path, "wb") as file:
        tensors.write(file, {"t": tensor}, {}, lambda _block: None)
    with open(path, "rb") as file:
        tensors.read_header(file, lambda _block: None)
        os.truncate(path, 200_000)
        with pytest.raises(ValueError, match="ends early"):
            tensors.read(file, tensor, lambda _block: None)
