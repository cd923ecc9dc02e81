"""Speed and memory, each as a ratio to what a user would pick instead, in one run; `make bench`.

Sources are compiled once, as in an installation, even where the shell asks Python to compile them in every process.
"""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
