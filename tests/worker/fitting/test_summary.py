"""What is told at submit: how the data was understood, and what usually goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.job import parse
from singlepoint.worker.fitting.check import Outlook, check_training


def told(folder: Path, content: str, **sections: Any) -> Outlook:
    (folder / "t.csv").write_text(content)
    data = {"path": str(folder / "t.csv"), "target": "y", **sections.pop("data", {})}
    spec = parse({"name": "t", "data": data, "model": {"hidden": [4]}, **sections})
    return check_training(spec, folder)  # type: ignore[arg-type]


def rows(count: int, line: str = "{i};{x};{w};{y}") -> str:
    lines = (line.format(i=i, x=f"{i % 7},5", w="rgb"[i % 3], y="pq"[i % 2]) for i in range(count))
    return "\n".join(["id;x;w;y", *lines]) + "\n"


def test_the_dialect_and_the_categories_that_were_found_are_told_and_settled(tmp_path: Path) -> None:
    outlook = told(tmp_path, rows(40), preprocessing={"categorical": "auto"})
    first, columns, target, network = outlook.summary
    assert "separator ';', decimal ','" in first and "40 rows, 32 to learn from, 8 held back" in first
    assert "2 numbers (id, x); 1 categories (w)" in columns
    assert "classification, since it is text: p 20 (50%), q 20 (50%)" in target
    assert "parameters" in network
    assert (outlook.data["separator"], outlook.data["decimal"]) == (";", ",")
    assert outlook.preprocessing == {"categorical": ("w",)}


def test_why_the_task_was_taken_is_told(tmp_path: Path) -> None:
    content = "a,y\n" + "".join(f"{i % 26},{i % 26}\n" for i in range(260))
    assert "regression, since it has 26 different whole numbers" in told(tmp_path, content).summary[2]


def test_what_usually_goes_wrong_is_warned_of(tmp_path: Path) -> None:
    content = "id,,x,y\n" + "".join(f"{i * 3},{i},{i % 5},{'rare' if i < 3 else 'usual'}\n" for i in range(60))
    warnings = "\n".join(told(tmp_path, content).warnings)
    assert "column 'id' has the name of an id" in warnings
    assert "column '' has no name and counts the rows" in warnings
    assert "class 'rare' has 3 rows" in warnings


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_the_index_of_a_shuffled_frame_is_warned_of(tmp_path: Path, name: str) -> None:
    content = f"{name},x,y\n" + "".join(f"{i * 37 % 60},{i % 5},{'pq'[i % 2]}\n" for i in range(60))
    [warning] = told(tmp_path, content).warnings
    assert warning.startswith(f"column '{name}' has no name of its own, and another value in each row")


def test_a_monitor_that_will_have_no_value_is_refused(tmp_path: Path) -> None:
    content = "a,y\n" + "".join(f"{i},{'pos' if i == 7 else 'neg'}\n" for i in range(100))
    with pytest.raises(InvalidInput, match="roc_auc has no value: the validation part has rows of 1 of 2 classes"):
        told(tmp_path, content, training={"early_stopping": {"monitor": "roc_auc"}})
