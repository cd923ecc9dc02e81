"""`python -m singlepoint`, and how `up` starts the services: installed, this lies beside the front door."""

from __future__ import annotations

import sys

from singlepoint import main

sys.exit(main())
