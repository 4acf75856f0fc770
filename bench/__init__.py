"""Measurements of fyke on the machine at hand: `python -m bench`, see README.md."""
