r"""The models of the benchmarks, in mathematics, and their data.

Eight schools, non-centred (10 unknowns): :math:`\mu \sim N(0, 5)`, :math:`\tau \sim C^+(5)`, :math:`z_j \sim N(0, 1)`,
:math:`y_j \sim N(\mu + \tau z_j, \sigma_j)`.

Radon, varying intercept and slope, non-centred (175 unknowns): :math:`\mu_a, \mu_b \sim N(0, 10)`,
:math:`\sigma_a, \sigma_b, \sigma \sim N^+(1)`, :math:`z^a_g, z^b_g \sim N(0, 1)`,
:math:`y_i \sim N(\mu_a + \sigma_a z^a_{g(i)} + (\mu_b + \sigma_b z^b_{g(i)})\, floor_i,\ \sigma)`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SURVEY = Path(__file__).parent.parent / "examples" / "data" / "radon_mn.csv"
GROUPS = 85

EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def survey() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """County (0–84), floor and log radon of the 919 houses."""
    with SURVEY.open() as file:
        rows = list(csv.DictReader(file))
    county = np.array([int(row["county"]) - 1 for row in rows])
    return county, np.array([float(row["floor"]) for row in rows]), np.array([float(row["log_radon"]) for row in rows])
