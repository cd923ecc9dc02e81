"""What may run now, and at what cost.

`policy.decide` looks at a `World` and says what to do; `runtime.loop` keeps the world true and does it. This package
imports `jobs` and never `worker`: the two meet only through the records in a job's history.
"""
