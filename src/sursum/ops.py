"""Operators for programs: what torch has not, or has in a form that does not broadcast."""

from sursum.core.vindex import Vindex, vindex

__all__ = ["Vindex", "vindex"]
