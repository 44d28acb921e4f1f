"""Instants: given in UTC with a `Z` by both APIs, taken with any offset."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

import app.web
from app.domain.hours import in_utc
from app.web.fields import Instant, ShownInstant
from tests.conftest import Clock
from tests.kinds.conftest import group
from tests.scanning import Process
from tests.web.api.steps import done
from tests.web.api.test_openapi import document, resolve

__all__ = ["document"]
MOMENT = "2026-12-01T18:00:00+08:00"


def answers(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the schemas of all that the API gives."""
    for path, item in document["paths"].items():
        for operation in item.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    yield path, content.get("schema", {})


def fields(document: dict[str, Any], schema: Any, seen: set[str], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        for one in schema:
            yield from fields(document, one, seen, where)
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        if schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            yield from fields(document, resolve(document, schema), seen, schema["$ref"])
        return
    if schema.get("format") == "date-time":
        yield where, schema
    for name, one in schema.items():
        if name not in ("examples", "example", "default"):
            yield from fields(document, one, seen, f"{where}.{name}")


def test_every_instant_that_is_given_is_described_with_a_z(document: dict[str, Any]) -> None:
    seen: set[str] = set()
    found = [one for path, schema in answers(document) for one in fields(document, schema, seen, path)]
    assert len(found) > 15
    assert [where for where, schema in found if schema.get("pattern") != "Z$"] == []


def models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.walk_packages(app.web.__path__, "app.web."):
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == module.name:
                yield one


def test_no_model_that_is_given_has_an_instant_of_its_own_spelling() -> None:
    """A field is of the type that spells it, or of one that is only taken."""
    taken = {repr(part) for one in (Instant,) for part in get_args(one)[1:]}
    shown = {repr(part) for part in get_args(ShownInstant)[1:]}
    bare = []
    for model in set(models()):
        for name, field in model.model_fields.items():
            kinds = {field.annotation, *get_args(field.annotation)}
            parts = {repr(part) for part in field.metadata} | {
                repr(part) for kind in kinds for part in get_args(kind)[1:]
            }
            if datetime in kinds | {part for kind in kinds for part in get_args(kind)} and not parts & (taken | shown):
                bare.append(f"{model.__name__}.{name}")
    assert bare == []


@pytest.mark.parametrize("text", ["2026-12-01T18:00:00+08:00", "2026-12-01T10:00:00Z", "2026-12-01T04:30:00-05:30"])
def test_an_instant_is_spelt_in_utc_wherever_it_came_from(text: str) -> None:
    given = datetime.fromisoformat(text)
    assert in_utc(given) == "2026-12-01T10:00:00Z"
    assert json.loads(TypeAdapter(ShownInstant).dump_json(given)) == "2026-12-01T10:00:00Z"
    assert in_utc(datetime(2026, 12, 1, 10, 0, 0, 5, tzinfo=UTC)) == "2026-12-01T10:00:00.000005Z"


async def test_what_is_taken_with_an_offset_is_given_with_a_z(
    api: httpx.AsyncClient, process: Process, clock: Clock
) -> None:
    code = await group(api, 9, opens_at=MOMENT)
    assert code["opens_at"] == "2026-12-01T10:00:00Z"
    explained = done(await api.get(f"/codes/{code['id']}/explain", params={"at": MOMENT}))
    assert explained["at"] == "2026-12-01T10:00:00Z"
    as_json = {"Accept": "application/json"}
    closed = (await process.phone(**as_json).client.get(f"/{code['slug']}")).json()
    assert (closed["outcome"], closed["opens_at"]) == ("not_open", "2026-12-01T10:00:00Z")
    open_now = await group(api, 9)
    target = open_now["targets"][0]["id"]
    assert (
        done(await api.patch(f"/targets/{target}", json={"expires_at": MOMENT}))["expires_at"] == "2026-12-01T10:00:00Z"
    )
    given = (await process.phone(**as_json).client.get(f"/{open_now['slug']}")).json()
    assert given["target"]["expires_at"] == "2026-12-01T10:00:00Z"
