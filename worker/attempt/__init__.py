"""One attempt of a job. `perform` is the function whose dotted path is stored in Redis: its name stays."""

from .pipeline import perform

__all__ = ["perform"]
