"""How a job is done: the pool of rq workers, one attempt after another, whatever its kind; and answering at once.

This package imports `jobs` and never `scheduler`: what an attempt may use arrives as `Terms` in the job's
history, what it did use goes back as `Usage`.
"""
