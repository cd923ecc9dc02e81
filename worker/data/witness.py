"""Whether the files that work reads are still the ones it began with.

What is mapped is read as long as the work goes on, and what is streamed until its end; a file that somebody writes to
meanwhile would give another result, or half of each. Looking costs one stat a file, so it is done before anything that
was made of the rows is kept. A change that leaves size and time as they were is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, Problem

Sign = tuple[int, int, int, int] | None
"""Device, inode, bytes, and when it was changed last (ns); None: it is not there."""


@dataclass(frozen=True)
class Witness:
    """Files as they were when they were looked at."""

    signs: tuple[tuple[Path, Sign], ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Witness:
        """Of a folder, every file in it."""
        files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        return cls(tuple((file, _sign(file)) for file in dict.fromkeys(files)))

    def require_unchanged(self, field: str) -> None:
        """Raises InvalidInput, naming the first file that is not what it was. field: that named it."""
        for path, sign in self.signs:
            if _sign(path) != sign:
                remedy = "write it to another file and rename that; then submit the job again, or `retry --fresh` it"
                raise InvalidInput(Problem(field, f"{path} was changed while the job read it", remedy))


def _sign(path: Path) -> Sign:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
