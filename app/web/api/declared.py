"""Refuse query parameters and form fields that a route does not declare (未声明的参数), as JSON bodies refuse fields.

Law: what is declared is read from the route itself, so a route cannot forget to say it here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import ImmutableMultiDict


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
    if found:
        raise RequestValidationError(found)


def _strange(where: str, given: ImmutableMultiDict[str, object], known: frozenset[str]) -> Iterator[dict[str, object]]:
    for name in given:
        if name not in known:
            yield {"loc": (where, name), "type": "extra_forbidden", "msg": "There is no such field"}
        elif len(given.getlist(name)) > 1:
            yield {"loc": (where, name), "type": "repeated", "msg": "Field given more than once"}


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
