"""The scheduler as it runs: see, decide, act, and keep Redis in line with the disk."""
