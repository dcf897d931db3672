"""Whole studies of a program: simulation-based calibration.

Imports the samplers; only the public faces import it.
"""
