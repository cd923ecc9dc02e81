"""Writes that survive a power cut, in the one order that does: temporary name in the same directory,
write, fsync, rename, fsync of the directory.

A full disk raises StorageFull with what was being written; a directory one may not write raises
NotPermitted. Each function says its failpoint's name.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, NotNow, NotPermitted, Problem, SinglepointError, StorageFull
from singlepoint.jobs.failpoints import reach

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, has no room left."""
    return error.errno in _FULL


def is_denied(error: OSError) -> bool:
    """Whether it is permissions that stand in the way."""
    return error.errno in _DENIED


def is_exhausted(error: OSError) -> bool:
    """Whether the machine, and not the file, is to blame, and only for now."""
    return error.errno in _EXHAUSTED


def refusal(error: BaseException) -> SinglepointError | None:
    """What to tell of the operating system's refusal where nobody reckoned with it; None for any other error."""
    if not isinstance(error, OSError):
        return None
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    what = f"{error.strerror}{f': {name}' if name else ''}"
    if is_full(error):
        return StorageFull(what, hint="free some space")
    if is_denied(error):
        return NotPermitted(what, hint="mend the permissions, or have it done by whoever may")
    if error.errno in _NO_NAME:
        return InvalidInput(Problem("a name", what, "choose another"))
    return NotNow(what, hint="the machine is short of it: try again later") if is_exhausted(error) else None


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                f"no space left to write {path}", hint="free some space; the job goes on by itself"
            ) from error
        if is_denied(error):
            raise NotPermitted(
                f"cannot write {path}: {error.strerror}",
                hint="choose another directory with --home or $SINGLEPOINT_HOME, or mend its permissions",
            ) from error
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: without it a power cut can keep a file and forget its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """A directory whose name survives a power cut; one that is there already is fine."""
    with explained(path):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)
            sync_directory(path.parent)


def write_new(path: Path, content: bytes, *, point: str) -> None:
    """Write and fsync a file under its own name, in a directory that nobody reads yet."""
    with explained(path):
        reach(point)
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def replace_file(path: Path, content: bytes, *, point: str) -> None:
    """Put `content` at `path`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        write_new(temporary, content, point=point)
        reach(f"{point}.rename")
        os.replace(temporary, path)
        sync_directory(path.parent)


def move_into_place(temporary: Path, final: Path, *, point: str) -> None:
    """Rename a finished file or directory to its final name, durably."""
    with explained(final):
        reach(point)
        os.rename(temporary, final)
        sync_directory(final.parent)


def append(descriptor: int, content: bytes, *, path: Path, point: str) -> None:
    """Append to an open file and fsync it; on a full disk the file is cut back to what it was."""
    size = os.fstat(descriptor).st_size
    with explained(path):
        reach(point)
        try:
            written = os.write(descriptor, content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
