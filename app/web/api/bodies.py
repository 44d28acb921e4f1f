"""Read a QR from a request: multipart with a picture, or JSON with its text. One operation takes both."""

import hashlib
import json
import re
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.domain.errors import Refusal
from app.services.uploading import Source
from app.web.schemas import QrText

P = TypeVar("P", bound=BaseModel)

_FIELDS_MAX: Final = 20
# A form has texts only; these are numbers in JSON.
_NUMBERS: Final = frozenset({"member_limit", "members", "weight", "position"})


async def read_upload(request: Request, fields: type[P], text: type[P]) -> tuple[P, Source]:
    """Read what is said about a QR, and the QR.

    Shapes: `fields` is what may stand beside a picture, `text` the same with `payload` and `url`.
    Raises: RequestValidationError; HTTPException 400; Refusal `unsupported_media_type`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == "multipart/form-data":
            # How much there may be is for `doors.BodyLimit` to say; a second picture is refused by its name.
            async with request.form(max_files=_FIELDS_MAX, max_fields=_FIELDS_MAX) as form:
                image, said = await _split(form, frozenset(fields.model_fields))
            return _validated(fields, said), Source(image=image)
        if media_type == "application/json":
            body = _validated(text, json.loads(await request.body()))
            assert isinstance(body, QrText)
            return body, body.source()
    except (ClientDisconnect, ValueError, RecursionError) as error:
        raise HTTPException(400) from error
    raise Refusal("unsupported_media_type", "Send multipart/form-data with an image, or application/json.")


def content_of(fields: BaseModel, source: Source) -> dict[str, Any]:
    """Spell all that was asked, so that a repeat can be told from another request."""
    image = None if source.image is None else hashlib.sha256(source.image).hexdigest()
    return {**fields.model_dump(mode="json"), "image": image}


async def _split(form: FormData, known: frozenset[str]) -> tuple[bytes, dict[str, Any]]:
    """Take the picture and the texts of a form apart; an empty text counts as left out, since forms send all fields."""
    items = form.multi_items()
    said: dict[str, Any] = {}
    empty: set[str] = set()
    image = form.get("image")
    for name, value in items:
        if name == "allow" and isinstance(value, str):
            # A list in JSON: in a form, several of it, or words with commas between them.
            said.setdefault(name, []).extend(filter(None, map(str.strip, value.split(","))))
            continue
        if name in said:
            raise _invalid(name, "repeated", "Field given more than once")
        if isinstance(value, UploadFile) != (name == "image"):
            said_to = "image must be a file (with curl: -F image=@file)" if name == "image" else "Only image is a file"
            raise _invalid(name, "file_expected" if name == "image" else "text_expected", said_to)
        if value == "" and name in known:
            empty.add(name)
        number = name in _NUMBERS and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value)
        said[name] = int(value) if number and isinstance(value, str) else value
    if not isinstance(image, UploadFile):
        raise _invalid("image", "missing", "Field required")
    del said["image"]
    return await image.read(), {name: value for name, value in said.items() if name not in empty}


def _validated(model: type[P], value: Any) -> P:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(found) from error


def _invalid(where: str, code: str, detail: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", where), "type": code, "msg": detail}])
