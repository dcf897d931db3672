"""Functions of tensors that torch lacks and that programs use: each works eagerly, mapped by vmap, and in C, with derivatives.

Imports `common`; the distributions use it.
"""

from sursum.ops.special import (
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

__all__ = [
    "betainc",
    "betaincc",
    "betaln",
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
]
