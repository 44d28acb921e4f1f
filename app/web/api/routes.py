"""Put the API together: routes, doors, errors and docs."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Final

from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.web.api import (
    accounts,
    channels,
    codes,
    explain,
    keys,
    options,
    prints,
    scans,
    stats,
    targets,
    visitors,
    workspace,
)
from app.web.api.asking import BEARER
from app.web.api.context import ApiContext
from app.web.api.declared import Declared, check_declared, declared_by
from app.web.api.docs import install_docs
from app.web.doors import API_PATH, Authentication, BodyLimit, SecurityHeaders
from app.web.edge import install_errors

_TAGS: Final = [
    {"name": "codes", "description": "What is printed (活码)."},
    {"name": "targets", "description": "The groups behind a code (子码), and their QRs."},
    {"name": "accounts", "description": "Who can be added (员工号): caps, hours, and who is away."},
    {"name": "menus", "description": "What a menu leads to (选项)."},
    {"name": "channels", "description": "Where a code is printed (渠道)."},
    {"name": "print", "description": "The QR to print (印刷码)."},
    {"name": "stats", "description": "What happened, hour by hour (统计)."},
    {"name": "keys", "description": "API keys (密钥): `read` < `write` < `admin`."},
    {"name": "visitors", "description": "Who scanned (访客): nobody to be looked up, anybody to be erased."},
    {"name": "workspace", "description": "The tenant that a key belongs to (工作区)."},
    scans.TAG,
]


def build_api(context: ApiContext, body_seconds: float = 120.0) -> FastAPI:
    """Build the API. Whoever serves it puts the scan app in front, and adds the health and metrics routes."""
    app = FastAPI(
        title="huoma",
        version="1",
        summary="Live codes (活码): one printed QR code that always leads to a real one with room.",
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.context = context
    routes, app.state.methods, app.state.declared = _routes()
    app.router.routes.extend(routes)
    install_errors(app)
    install_docs(app)
    # The last one added is the first to be asked.
    app.add_middleware(BodyLimit, seconds=body_seconds)
    app.add_middleware(Authentication, keys=context.keys, clock=context.clock)
    app.add_middleware(SecurityHeaders)
    return app


@cache
def _routes() -> tuple[list[BaseRoute], Mapping[str, set[str]], Mapping[str, Declared]]:
    """List the routes, the methods of each path, and what each operation declares.

    Cost: a tenth of a second, once a process.
    """
    methods = defaultdict[str, set[str]](set)
    declared: dict[str, Declared] = {}
    api = APIRouter(
        prefix=API_PATH,
        dependencies=[Security(BEARER), Depends(check_declared)],
        generate_unique_id_function=_operation_id,
    )
    for part in (codes, explain, targets, accounts, options, channels, prints, stats, keys, visitors, workspace):
        api.include_router(part.router)
        for route in part.router.routes:
            assert isinstance(route, APIRoute)
            methods[API_PATH + route.path] |= route.methods or set()
            declared[route.name] = declared_by(route)
    # FastAPI analyses what is included when it is first asked for it, and keeps that with the router that includes it.
    whole = APIRouter()
    whole.include_router(api)
    return whole.routes, dict(methods), declared


def _operation_id(route: APIRoute) -> str:
    return route.name
