"""What a log density is made of at a point, site by site, for messages."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.common.tables import Table
from sursum.core.messages import Factor, Sample
from sursum.core.trace import Trace
from sursum.density.init_values import brief


def not_finite(found: Trace) -> list[str]:
    """The sites of an execution whose value or log density is not finite, or that cannot be scored."""
    names = []
    for name, site in found.items():
        try:
            terms = [site.value] + ([site.log_prob()] if isinstance(site, (Sample, Factor)) else [])
        except (ValueError, torch.linalg.LinAlgError):
            names.append(name)
            continue
        if not all(bool(torch.isfinite(term).all()) for term in terms if isinstance(term, Tensor)):
            names.append(name)
    return names


def tabulate(found: Trace) -> str:
    """A table of every site of an execution: value, log density, line of the program."""
    rows = [("site", "value", "log density", "line")]
    for name, site in found.items():
        try:
            log_prob = f"{float(site.log_prob().detach().sum()):.6g}" if hasattr(site, "log_prob") else ""
        except (ValueError, torch.linalg.LinAlgError) as error:
            log_prob = str(error).splitlines()[0]
        rows.append((name, brief(site.value), log_prob, site.where or ""))
    return Table(rows)
