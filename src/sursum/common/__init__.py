"""What every room uses and that knows neither sites nor distributions: names, numbers, text, frames, torch's private door.

Imports only `sursum.errors`; may be imported from anywhere.
"""
