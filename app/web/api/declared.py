"""Refuse query parameters and form fields that a route does not declare (未声明的参数), and any field given twice.

Law: what is declared is read from the route itself, so a route cannot forget to say it here.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

_JSON: Final = re.compile(r"application/(?:[^/]+\+)?json", re.IGNORECASE)


class Declared(NamedTuple):
    """Hold the names a route knows; `form` is None where its body is none or is read by the route itself."""

    query: frozenset[str]
    form: frozenset[str] | None


async def check_declared(request: Request) -> None:
    """Refuse names that the route does not declare, and names that are given more than once.

    Raises: RequestValidationError.
    """
    declared = request.app.state.declared[request.scope["route"].name]
    assert isinstance(declared, Declared)
    found = list(_strange("query", request.query_params, declared.query))
    if declared.form is not None:
        # Read by FastAPI before any dependency is; this is what it has kept.
        found += _strange("body", await request.form(), declared.form)
    elif _JSON.fullmatch(request.headers.get("content-type", "").partition(";")[0].strip()):
        found += _repeated(await _body(request))
    if found:
        raise RequestValidationError(found)


def _strange(where: str, given: ImmutableMultiDict[str, object], known: frozenset[str]) -> Iterator[dict[str, object]]:
    for name in given:
        if name not in known:
            yield {"loc": (where, name), "type": "extra_forbidden", "msg": "There is no such field"}
        elif len(given.getlist(name)) > 1:
            yield {"loc": (where, name), "type": "repeated", "msg": "Field given more than once"}


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HTTPException(400) from error


def _repeated(body: bytes) -> Iterator[dict[str, object]]:
    """Name the fields that objects of a JSON body hold twice, of which a parser would keep the last.

    A body that is no JSON is left to be refused by whatever reads it. Cost: parses the body once more.
    """
    twice: dict[str, None] = {}

    def note(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            twice.update((name, None) for name, times in Counter(names).items() if times > 1)

    with suppress(ValueError, RecursionError):
        json.loads(body, object_pairs_hook=note)
    for name in twice:
        yield {"loc": ("body", name), "type": "repeated", "msg": "Field given more than once"}


def declared_by(route: APIRoute) -> Declared:
    """Read what a route declares, in all its dependencies."""
    query: set[str] = set()
    form: set[str] | None = None
    for one in _flat(route.dependant):
        query |= {field.alias for field in one.query_params}
        fields = {field.alias for field in one.body_params if isinstance(field.field_info, params.Form)}
        if fields:
            form = (form or set()) | fields
    return Declared(frozenset(query), None if form is None else frozenset(form))


def _flat(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for one in dependant.dependencies:
        yield from _flat(one)
