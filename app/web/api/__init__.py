"""Serve the marketer's JSON API. `build_api` is the door; every route takes what it needs from one `ApiContext`."""

from app.web.api.context import ApiContext
from app.web.api.routes import build_api

__all__ = ["ApiContext", "build_api"]
