"""Describe the API: the OpenAPI document, and a page that shows it without asking any other host."""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic.json_schema import models_json_schema

from app.web.answers import Problem
from app.web.api.scans import scan_paths, scan_schemas
from app.web.edge import STATUS
from app.web.schemas import FreshPicture, FreshQr, NewTarget, TargetFields

TEXT_REFUSALS: Final = (
    "bad_link", "link_expected", "needs_qr", "no_targets_in_menu", "own_address", "qr_expected", "unsupported_qr_kind",
)  # fmt: skip
UPLOAD_REFUSALS: Final = (
    "image_too_large", "no_picture", "no_qr_code", "several_qr_codes", "too_many_uploads", "unreadable_image",
    "unsupported_media_type",
    *TEXT_REFUSALS,
)  # fmt: skip
_ALWAYS: Final = ("unauthenticated", "insufficient_scope", "invalid", "store_away")
# What many operations have in common, by a word that is no code itself.
_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "body": ("invalid", "malformed_body", "body_too_large", "body_too_slow"),
    "hours": ("empty_shift", "overlapping_shifts", "repeated_date", "too_many_shifts"),
    "idempotency": ("bad_idempotency_key", "idempotency_key_in_use", "idempotency_key_reused"),
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>huoma API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
# Swagger UI writes styles into elements, shows its icons from data URLs, and pictures that it was answered from blobs;
# scripts come from here alone.
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of an operation by their codes, or by a name of `_GROUPS` for what it brings.

    Those that every operation has are added.
    """
    by_status: dict[int, list[str]] = {}
    for code in sorted({one for name in (*codes, *_ALWAYS) for one in _GROUPS.get(name, (name,))}):
        by_status.setdefault(STATUS[code], []).append(code)
    return {
        status: {
            "description": " · ".join(f"`{code}`" for code in found),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {code: {"value": _example(code)} for code in found},
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def takes_upload(picture: str, text: str) -> dict[str, Any]:
    """Describe the body of an operation that takes a QR as a picture or as text, by the names of both schemas."""
    content = {
        "multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{picture}"}},
        "application/json": {"schema": {"$ref": f"#/components/schemas/{text}"}},
    }
    return {"requestBody": {"required": True, "content": content}}


def install_docs(app: FastAPI) -> None:
    """Serve `/openapi.json` and `/docs`."""
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]

    async def page() -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _PAGE_POLICY})

    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    app.add_api_route("/docs", page, include_in_schema=False)
    app.add_api_route("/docs/start.js", start, include_in_schema=False)
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount("/docs/assets", StaticFiles(directory=assets), name="docs-assets")


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _without_fastapi_errors(document)
        document["components"]["schemas"] |= _schemas() | scan_schemas()
        document["paths"] |= scan_paths()
        app.openapi_schema = document
    return app.openapi_schema


def _without_fastapi_errors(document: dict[str, Any]) -> None:
    """Take out the 422 that FastAPI describes wherever we describe none: an id that cannot be is a 404 here."""
    for item in document["paths"].values():
        for operation in item.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _schemas() -> dict[str, Any]:
    """Spell the schemas that no route declares: problems, and the bodies that are read by hand."""
    models = [(model, "validation") for model in (Problem, NewTarget, FreshQr, TargetFields, FreshPicture)]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = found["$defs"]
    schemas["NewTargetPicture"] = _with_image(schemas.pop("TargetFields"))
    schemas["FreshQrPicture"] = _with_image(schemas.pop("FreshPicture"))
    return schemas


def _with_image(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a form: a picture, and fields that are texts or left out, since a form has no null."""
    said = "A still screenshot or photo: JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF, told by its content; 10 MB."
    image = {"type": "string", "contentMediaType": "image/*", "description": said}
    fields = {name: _form_field(field) for name, field in schema["properties"].items()}
    return {**schema, "properties": {"image": image, **fields}, "required": ["image"]}


def _form_field(field: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a field with an empty text in place of null.

    The page writes the default into the form, as text, and would make a value up where there is none.
    """
    kinds: list[dict[str, Any]] = [one for one in field.get("anyOf", ()) if one != {"type": "null"}]
    if not kinds:
        return dict(field)
    assert len(kinds) == 1
    return {key: value for key, value in field.items() if key != "anyOf"} | kinds[0] | {"default": ""}


def _example(code: str) -> dict[str, Any]:
    status = STATUS[code]
    title = HTTPStatus(status).phrase
    return {
        "type": f"urn:huoma:problem:{code}",
        "title": title,
        "status": status,
        "detail": f"{title}.",
        "code": code,
        "where": None,
    }
