"""Whole studies of a program: simulation-based calibration.

Imports the samplers; nothing but the public faces imports it.
"""
