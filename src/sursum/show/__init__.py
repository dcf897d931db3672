"""Displays: the report of a lifted program, its picture, and the doctor, which reports what the machine offers.

Imports everything below; only the public faces import it.
"""
