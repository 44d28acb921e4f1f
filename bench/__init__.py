"""Measure what the design promises, on this machine: `make bench`, or `python -m bench` and names of measurements."""
