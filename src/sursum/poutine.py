"""`sursum.handlers`, under the name that Pyro users know."""

from sursum.handlers import *  # noqa: F403
