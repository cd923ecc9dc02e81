"""Scoring many rows: on several cores, in parts that count once, in the format of the output."""
