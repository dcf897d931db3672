"""Guides that draw groups of a model's sites together.

Imports sursum's public names, `nn`, `poutine` and the primitives.
"""

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.contrib.easyguide import easyguide
from sursum.compat.pyro.contrib.easyguide.easyguide import EasyGuide, easy_guide

__all__ = ["EasyGuide", "easy_guide", "easyguide"]

__getattr__ = refusing("pyro.contrib.easyguide", __all__, {})
