"""`odeint`: ordinary differential equations in programs.

Imports `core`, whose scan is the loop; the public names of the package import it.
"""

from sursum.ode.odeint import odeint

__all__ = ["odeint"]
