"""What holds for every test: hypothesis tries the same examples in every run, and compiler passes are looked at."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("SURSUM_VERIFY", "1")

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")
