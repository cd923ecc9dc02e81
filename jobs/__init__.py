"""What was asked, and what became of it.

This package knows a job's spec, its life cycle, its history on disk and its place in Redis. It imports
neither `scheduler` nor `worker`, and never numpy.
"""

import sys
from importlib import import_module

if __name__ == "jobs":
    # Found by its folder, by a script with a clone on its path: the errors it catches must be those that are raised.
    sys.modules["jobs.errors"] = import_module("singlepoint.jobs.errors")
