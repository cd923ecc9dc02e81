"""Hands many specs in with one process, as users are told to: `hand_in.py HOME SPECS.json`; prints their ids."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from singlepoint import submit

if __name__ == "__main__":
    for spec in json.loads(Path(sys.argv[2]).read_text()):
        print(submit(spec, home=sys.argv[1]))
