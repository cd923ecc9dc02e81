"""Answering a few rows at once: the protocols, the models in memory, and what waits computed together."""
