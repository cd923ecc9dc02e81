"""Amounts of memory, disk and cores as people write them. Pure.

`512MiB` is binary, `512MB` decimal, and a bare `M` is binary, as in every tool that limits memory.
"""

from __future__ import annotations

import re

_BINARY = {f"{letter}{suffix}": 1024**power for power, letter in enumerate("kmgt", 1) for suffix in ("", "ib")}
_DECIMAL = {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
UNITS: dict[str, int] = {"": 1, "b": 1, **_BINARY, **_DECIMAL}

_AMOUNT = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$")
_LARGEST = 2**60


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


def format_cores(cpu_millis: int) -> str:
    """`1 core`, `2 cores`, `0.5 cores`."""
    count = f"{cpu_millis / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{count} core" if count == "1" else f"{count} cores"


def amount_text(resource: str, amount: int) -> str:
    """An amount of a resource by its name in `records.Resources`: `2 cores`, `512 MiB`, `10 MiB/s`."""
    if resource == "cpu_millis":
        return format_cores(amount)
    return format_bytes(amount) + ("/s" if resource == "network_bytes_s" else "")
