"""Amounts of memory, disk, cores and time, and points in time, as people write them. Pure.

`512MiB` is binary, `512MB` decimal, and a bare `M` is binary, as in every tool that limits memory. `90`, `10m`, `2h`
and `30d` are lengths of time, `+2h`, `18:00` and `2026-11-27 18:00` points in time, those of the clock in local time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

_BINARY = {f"{letter}{suffix}": 1024**power for power, letter in enumerate("kmgt", 1) for suffix in ("", "ib")}
_DECIMAL = {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
UNITS: dict[str, int] = {"": 1, "b": 1, **_BINARY, **_DECIMAL}

_AMOUNT = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$")
_LARGEST = 2**60

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 1000 * 365 * 86400.0

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
LAST_S = 253_402_214_400.0
"""The last day of the year 9999: no point in time is later."""


def parse_bytes(text: str | int) -> int:
    """Bytes in `512MiB`, `1.5 GB`, `2G` or a bare number; raises ValueError saying what is expected."""
    match = _AMOUNT.match(str(text))
    unit = UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text!r} is not an amount of bytes; write it like 512MiB or 4GB")
    amount = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if amount > _LARGEST:
        raise ValueError(f"{text!r} is more than any machine has")
    return amount


def format_bytes(amount: int) -> str:
    """`512 MiB`, `1.5 GiB`: at most one decimal, for people."""
    size = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.1f}".removesuffix(".0") + f" {unit}"
        size /= 1024
    return f"{size:.1f}".removesuffix(".0") + " TiB"


def parse_length_s(text: str) -> float:
    """Seconds in `90`, `10m`, `2h` or `30d`; raises ValueError saying what is expected."""
    match = _LENGTH.fullmatch(text.strip())
    length_s = float(match[1]) * _SECONDS[match[2]] if match else None
    if length_s is None or length_s > _LONGEST_S:
        raise ValueError(f"{text!r} is no length of time; write it like 90, 10m, 2h or 30d")
    return length_s


def parse_moment_s(text: str, now: float) -> float:
    """Seconds since the epoch at `+2h` (from now), `18:00` (the next), `2026-11-27 18:00` (local, unless it says Z or
    +01:00); raises ValueError saying what is expected."""
    word = text.strip()
    try:
        if match := _CLOCK.fullmatch(word):
            local = datetime.fromtimestamp(now)
            at = local.replace(hour=int(match[1]), minute=int(match[2]), second=int(match[3] or 0), microsecond=0)
            return (at if at > local else at + timedelta(days=1)).timestamp()
        if _LENGTH.fullmatch(word.removeprefix("+")):
            return now + parse_length_s(word.removeprefix("+"))
        moment_s = datetime.fromisoformat(word).timestamp()
    except (ValueError, OverflowError, OSError):
        moment_s = -1.0
    if not 0 <= moment_s <= LAST_S:
        raise ValueError(f"{text!r} is no point in time; write it like +2h, 18:00 or 2026-11-27T18:00")
    return moment_s


def format_cores(cpu_millis: int) -> str:
    """`1 core`, `2 cores`, `0.5 cores`."""
    count = f"{cpu_millis / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{count} core" if count == "1" else f"{count} cores"


def granted_text(cores: Sequence[int], units: Mapping[str, Sequence[int]]) -> str:
    """Which cores somebody has, and which of what is counted: `cores 0,1; gpu 0`."""
    named = {f"core{'s' if len(cores) > 1 else ''}": cores, **units}
    return "; ".join(f"{name} {','.join(map(str, numbers))}" for name, numbers in named.items() if numbers)


def amount_text(resource: str, amount: int) -> str:
    """An amount of a resource by its name in `records.Resources`: `2 cores`, `512 MiB`, `10 MiB/s`; or `1 gpu`."""
    if resource == "cpu_millis":
        return format_cores(amount)
    if resource in ("memory_bytes", "storage_bytes"):
        return format_bytes(amount)
    return f"{format_bytes(amount)}/s" if resource == "network_bytes_s" else f"{amount} {resource}"
