"""What holds for every test: the compiler looks at what its passes make."""

from __future__ import annotations

import os

os.environ.setdefault("SURSUM_VERIFY", "1")
