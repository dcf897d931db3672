"""Posteriors of networks of any size: SGMCMC, SWAG, deep ensembles and dropout, from whole data or batches.

Imports `optimise`, `training` and below; `infer` imports it.
"""

from sursum.networks.deep_ensemble import DeepEnsemble
from sursum.networks.dropout import MCDropout
from sursum.networks.dynamics import SGHMC, SGLD, SGNHT
from sursum.networks.sgmcmc import SGMCMC
from sursum.networks.swag import SWAG

__all__ = ["SGHMC", "SGLD", "SGMCMC", "SGNHT", "SWAG", "DeepEnsemble", "MCDropout"]
