"""Writes that survive a power cut, in the one order that does: temporary name in the same directory,
write, fsync, rename, fsync of the directory.

A full disk raises StorageFull with what was being written; a directory one may not write raises
NotPermitted. Each function says its failpoint's name.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from singlepoint.jobs.errors import InvalidInput, NotFound, NotNow, NotPermitted, Problem, SinglepointError, StorageFull
from singlepoint.jobs.failpoints import reach

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
_FAILING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, has no room left."""
    return error.errno in _FULL


def is_denied(error: OSError) -> bool:
    """Whether it is permissions that stand in the way."""
    return error.errno in _DENIED


def is_exhausted(error: OSError) -> bool:
    """Whether the machine, and not the file, is to blame, and only for now."""
    return error.errno in _EXHAUSTED


def may_pass(error: OSError) -> bool:
    """Whether it may go by itself: a disk that is full or fails, or something that the machine is short of."""
    return error.errno in _FULL | _EXHAUSTED | _FAILING


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
    if error.errno in _FAILING:
        return NotNow(what, hint="the disk, or the way to it, fails: the system's log says how; then try again")
    return NotNow(what, hint="the machine is short of it: try again later") if is_exhausted(error) else None


def write_asked(path: Path, content: str) -> None:
    """A file that somebody named for an answer. Raises NotFound, InvalidInput, and OSError for the rest (`refusal`)."""
    try:
        path.write_text(content, encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"cannot write {path}: its directory is not there", hint="make it first") from None
    except IsADirectoryError:
        raise InvalidInput(Problem(str(path), "is a directory", "name a file")) from None


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


@functools.cache
def can_sync_filesystem() -> bool:
    """Whether the system has a call that waits for all of one file system (Linux has)."""
    import ctypes  # as what is loaded below: by few commands, and each takes milliseconds

    return hasattr(ctypes.CDLL(None), "syncfs")


def sync_filesystem(path: Path) -> None:
    """Make everything durable that was written, by whomever, to the file system that `path` lies on."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(path))
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """A directory whose name survives a power cut; one that is there already is fine."""
    with explained(path):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)
            sync_directory(path.parent)


PRIVATE = 0o600
"""The mode of what lies in a home, whatever the umask says."""

SHARED = 0o666
"""The mode of what a user asked for, less what the umask takes away."""


def creating(mode: int = PRIVATE) -> Callable[[str, int], int]:
    """For `open(…, opener=…)`: a file made with this mode; a link that somebody put there is not followed."""
    return lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def write_new(path: Path, content: bytes, *, point: str, lasting: bool = True) -> None:
    """Write a file under its own name, in a directory that nobody reads yet. lasting: on disk when this returns."""
    with explained(path):
        reach(point)
        with open(path, "wb", opener=creating()) as file:
            file.write(content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())


Fence = Callable[[], AbstractContextManager[None]]
"""Held while a file gets its name; raises Superseded when whoever writes may not any more."""


@contextlib.contextmanager
def put_in_place(
    path: Path, *, point: str, fence: Fence = contextlib.nullcontext, lasting: bool = True, mode: int = PRIVATE
) -> Iterator[BinaryIO]:
    """A file to write that has the name `path` once the block is left: whole or not at all.

    point: `<point>.rename` is reached before the rename.  fence: see `Fence`.
    mode: its permissions.  lasting: False for a mere figure, which a power cut may take.
    Whatever is raised, in the block or by the fence, leaves what was at `path`, and nothing beside it.
    """
    temporary = temporary_name(path)
    with explained(path):
        try:
            with open(temporary, "wb", opener=creating(mode)) as file:
                yield file
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            with fence():
                reach(f"{point}.rename")
                os.replace(temporary, path)
                if lasting:
                    sync_directory(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def temporary_name(path: Path) -> Path:
    """What a file is called while this process writes it; `is_temporary` knows it again."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a file is one that a process has not finished, and may have died over."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def replace_file(path: Path, content: bytes, *, point: str, mode: int = PRIVATE) -> None:
    """Put `content` at `path`, whole or not at all."""
    with put_in_place(path, point=point, mode=mode) as file:
        reach(point)
        file.write(content)


def move_into_place(temporary: Path, final: Path, *, point: str) -> None:
    """Rename a finished file or directory to its final name, durably."""
    with explained(final):
        reach(point)
        os.rename(temporary, final)
        sync_directory(final.parent)


def remove_if_possible(path: Path) -> None:
    """Remove a file, or a directory with all in it. What cannot be removed now stays for the next to try."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


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
