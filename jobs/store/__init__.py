"""The disk: the home, its settings, durable writes, the directories of the jobs, and what a dead attempt left there."""
