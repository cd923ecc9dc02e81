"""Benchmarks compare with packages that singlepoint itself does not need: say which extra brings them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(extra: str) -> Iterator[None]:
    """Ends the program with what to install when an import inside fails."""
    try:
        yield
    except ImportError as missing:
        sys.exit(f"this benchmark needs {missing.name}: .venv/bin/pip install -e '.[{extra}]'")
