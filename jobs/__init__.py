"""What was asked, and what became of it.

This package knows a job's spec, its life cycle, its history on disk and its place in Redis. It imports
neither `scheduler` nor `worker`, and never numpy.
"""
