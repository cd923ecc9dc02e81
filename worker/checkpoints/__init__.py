"""Saving the state of a training, and finding the newest sound one."""
