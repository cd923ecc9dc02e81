"""Texts that are known by their bytes are told from all others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from singlepoint.worker.data.preprocessing.decimals import PADDING
from singlepoint.worker.data.preprocessing.equal_bytes import MOST_BYTES, Known

texts = st.binary(max_size=12) | st.sampled_from(
    [b"", b"\0", b"\0\0", b"a" * 8, b"a" * 9, b"b" * MOST_BYTES, b"c" * 40]
)


@given(st.lists(texts, unique=True, max_size=8), st.lists(texts, min_size=1))
def test_a_text_has_the_number_it_was_given_and_others_are_foreign(known: list[bytes], cells: list[bytes]) -> None:
    found = Known()
    added = [one for one in known if found.add(one)]
    assert added == [one for one in known if len(one) <= MOST_BYTES] and len(found) == len(added)
    text, starts = b" " * PADDING, []
    for cell in cells:
        starts.append(len(text))
        text += cell
    first = np.array(starts)
    last = first + list(map(len, cells))
    numbers, foreign = found.numbers(np.frombuffer(text + b" " * PADDING, np.uint8), first, last)
    for cell, number, is_foreign in zip(cells, numbers.tolist(), foreign.tolist(), strict=True):
        assert is_foreign == (cell not in added)
        assert is_foreign or added[number] == cell


def test_a_text_with_the_hash_of_another_is_not_added_and_stays_foreign(monkeypatch: object) -> None:
    from singlepoint.worker.data.preprocessing import equal_bytes

    monkeypatch.setattr(equal_bytes, "_hashes", lambda eights, lengths: np.zeros(len(lengths), np.uint64))  # type: ignore[attr-defined]
    found = Known()
    assert found.add(b"one") and not found.add(b"two")
    text = np.frombuffer(b" " * PADDING + b"onetwo" + b" " * PADDING, np.uint8)
    numbers, foreign = found.numbers(text, PADDING + np.array([0, 3]), PADDING + np.array([3, 6]))
    assert foreign.tolist() == [False, True] and numbers[0] == 0
