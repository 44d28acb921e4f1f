"""Serve live codes (活码): one printed QR code that always leads to a real one with room."""

__version__ = "0.1.0"
