"""Speak HTTP: the scan path as plain ASGI, the marketer's API as FastAPI behind it."""
