"""How hard-pressed the machine is now: what the kernel tells of tasks that wait for cores, memory or the disk (PSI),
and the memory that is still to be had. Measured only; whoever admits work decides what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Pressure:
    """Shares of the last ten seconds, 0..1, in which some task (memory_full: every task) waited for it; None where the
    kernel does not tell.  available_bytes: memory that can be had without swapping, of total_bytes."""

    cpu: float | None = None
    memory: float | None = None
    memory_full: float | None = None
    io: float | None = None
    available_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def is_told(self) -> bool:
        return self.memory is not None

    @property
    def available_share(self) -> float | None:
        """Of all memory, what can be had without swapping."""
        return (
            self.available_bytes / self.total_bytes if self.available_bytes is not None and self.total_bytes else None
        )


def measure(proc: Path = PROC) -> Pressure:
    """As it is now. Source: Linux, Documentation/accounting/psi.rst."""
    cpu, memory, io = (_stalls(proc / "pressure" / name) for name in ("cpu", "memory", "io"))
    return Pressure(cpu.get("some"), memory.get("some"), memory.get("full"), io.get("some"), *_memory_bytes(proc))


def _stalls(path: Path) -> dict[str, float]:
    """`some avg10=1.50 avg60=… total=…` as {"some": 0.015, …}; empty where it cannot be read."""
    found = {}
    try:
        for line in path.read_text().splitlines():
            kind, *figures = line.split()
            values = dict(figure.split("=") for figure in figures)
            found[kind] = float(values["avg10"]) / 100
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _memory_bytes(proc: Path) -> tuple[int | None, int | None]:
    """What can be had, and what there is."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        told = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Mem")}
    except (OSError, ValueError, IndexError):
        return None, None
    return told.get("MemAvailable"), told.get("MemTotal")
