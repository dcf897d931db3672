"""Operators for programs: what torch has not, or has in a form that does not broadcast."""

from sursum.common.external import external
from sursum.common.special.functions import (
    betainc,
    betaincc,
    betaln,
    gammainc,
    gammaincc,
    log1mexp,
    log_betainc,
    log_betaincc,
    log_binomial,
    log_gammainc,
    log_gammaincc,
    log_normal_cdf,
    log_student_t_cdf,
    logsubexp,
    student_t_cdf,
)
from sursum.core.vindex import Vindex, vindex

__all__ = [
    "Vindex",
    "betainc",
    "betaincc",
    "betaln",
    "external",
    "gammainc",
    "gammaincc",
    "log1mexp",
    "log_betainc",
    "log_betaincc",
    "log_binomial",
    "log_gammainc",
    "log_gammaincc",
    "log_normal_cdf",
    "log_student_t_cdf",
    "logsubexp",
    "student_t_cdf",
    "vindex",
]
