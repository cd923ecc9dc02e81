"""Long-lived processes kept alive: the supervisor, and `up` in the foreground, detached or as a unit."""
