"""Words, vocabularies and TF-IDF rows, the same for a text alone and among others."""

from __future__ import annotations

import numpy as np
import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import PreprocessingSpec
from singlepoint.worker.data.preprocessing import SequencePreprocessor, SparseRows, TfIdfPreprocessor, fit_text
from singlepoint.worker.data.preprocessing.text import words

TEXTS = np.array(["the cat sat on the mat", "the dog sat", "a cat and a dog", "cats don't sit", ""], object)
ALL = np.arange(len(TEXTS))


def spec(**text: object) -> PreprocessingSpec:
    return PreprocessingSpec.model_validate({"text": text})


def test_words_are_unicode_letters_and_digits_in_composed_lower_case() -> None:
    assert words("Don't STOP—the café, №7!") == ["don't", "stop", "the", "café", "7"]
    assert words("Cafe\u0301") == ["café"]
    assert words("Ab ab", lowercase=False) == ["Ab", "ab"]


def test_tf_idf_agrees_with_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.feature_extraction.text")
    fitted = fit_text(TEXTS, ALL, spec(type="tfidf", ngrams=2, min_count=1))
    vectoriser = sk.TfidfVectorizer(tokenizer=words, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    expected = vectoriser.fit_transform(TEXTS.tolist()).toarray()
    assert isinstance(fitted, TfIdfPreprocessor)
    assert list(fitted.terms) == vectoriser.get_feature_names_out().tolist()
    np.testing.assert_allclose(fitted.transform(TEXTS)[:], expected, atol=1e-6)


def test_the_vocabulary_comes_from_the_training_rows_only() -> None:
    fitted = fit_text(TEXTS, np.array([1, 2]), spec(type="sequence", min_count=1))
    assert isinstance(fitted, SequencePreprocessor)
    assert set(fitted.words) == {"the", "dog", "sat", "a", "cat", "and"}


def test_sequences_are_padded_cut_and_have_a_token_for_unknown_words() -> None:
    fitted = fit_text(TEXTS, ALL, spec(type="sequence", length=3, min_count=2))
    assert isinstance(fitted, SequencePreprocessor)
    token = {word: i for i, word in enumerate(fitted.words, 2)}
    expected = [[token["the"], token["cat"], token["sat"]], [token["cat"], 1, 0], [1, 0, 0]]
    assert fitted.transform(np.array(["The cat sat down", "cat zebra", "…"], object)).tolist() == expected
    assert fitted.vocabulary == len(fitted.words) + 2


def test_words_of_which_nothing_was_learned_are_left_out_and_counted() -> None:
    texts = np.array(["good film", "bad film", "good end"], object)
    fitted = fit_text({"t": texts}, np.arange(3), spec(type="sequence", length=2, min_count=1), column="t")
    assert isinstance(fitted, SequencePreprocessor) and not fitted.unknown
    answer, unseen = fitted.counted({"t": np.array(["good zebra film", "zebra", ""], object)})
    assert answer.tolist() == [*fitted.transform({"t": texts[:1]}).tolist(), [0, 0], [0, 0]]
    assert unseen == {"t": 2}


def test_words_that_training_cut_off_are_not_in_the_vocabulary() -> None:
    texts = np.array(["one two three", "two one four"], object)
    fitted = fit_text(texts, np.arange(2), spec(type="sequence", length=2, min_count=1))
    assert isinstance(fitted, SequencePreprocessor) and set(fitted.words) == {"one", "two"}


def test_words_without_a_term_are_counted() -> None:
    fitted = fit_text({"t": TEXTS}, ALL, spec(type="tfidf", min_count=2), column="t")
    rows, unseen = fitted.counted({"t": np.array(["the zebra sat zebra", "cat"], object)})
    assert (len(rows), unseen) == (2, {"t": 2})


def test_sparse_rows_stand_for_the_dense_array() -> None:
    fitted = fit_text(TEXTS, ALL, spec(type="tfidf", min_count=1))
    rows = fitted.transform(TEXTS)
    assert isinstance(rows, SparseRows)
    out = np.full((2, rows.shape[1]), 9, np.float32)
    rows.take_rows(np.array([3, 0]), out)
    assert np.array_equal(out, rows[:][[3, 0]])
    assert rows.shape == (len(rows), rows[1:3].shape[1])
    compact = rows.compact(np.array([3, 0, 4]))
    again = np.zeros((3, rows.shape[1]), np.float32)
    again[:, compact.columns] = compact.values
    assert np.array_equal(again, rows[:][[3, 0, 4]]) and compact.values.any(axis=0).all()
    assert rows.compact(np.array([4])).values.shape == (1, 0)
    assert np.square(rows[:]).sum(axis=1) == pytest.approx([1, 1, 1, 1, 0], abs=1e-6)


@pytest.mark.parametrize("text", [{"type": "tfidf", "min_count": 1}, {"type": "sequence", "min_count": 1}])
def test_the_record_survives_json_and_rows_do_not_depend_on_their_neighbours(text: dict[str, object]) -> None:
    fitted = fit_text({"review": TEXTS}, ALL, spec(**text), column="review")
    again = type(fitted).model_validate_json(fitted.model_dump_json())
    assert again == fitted
    whole = fitted.transform({"review": TEXTS})[:]
    alone = np.concatenate([again.transform({"review": TEXTS[i : i + 1]})[:] for i in range(len(TEXTS))])
    assert whole.tobytes() == alone.tobytes()


def test_text_without_a_frequent_word_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no word occurs in 9 rows"):
        fit_text(TEXTS, ALL, spec(type="tfidf", min_count=9))
