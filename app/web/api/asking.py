"""Read what every request may carry beside its body: who asks, for which page, of which version, how often."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.security import HTTPBearer

from app.domain import ids, limits
from app.domain.code import AccountId, CodeId, TargetId
from app.domain.errors import Refusal
from app.domain.workspace import Scope
from app.services.editing import Versions
from app.services.keeping_keys import Caller
from app.services.once import Once
from app.store.keys import KeyId
from app.web.answers import ID
from app.web.api.context import ApiContext
from app.web.edge import etag

T = TypeVar("T")

# For the document only: `doors.Authentication` has seen to it before any route is looked up.
BEARER: Final = HTTPBearer(auto_error=False, description="An API key, hm_…")
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")


def _context(request: Request) -> ApiContext:
    context = request.app.state.context
    assert isinstance(context, ApiContext)
    return context


Context = Annotated[ApiContext, Depends(_context)]


def _needs(scope: Scope) -> Callable[[Request], Caller]:
    def allowed(request: Request) -> Caller:
        caller = request.state.caller
        assert isinstance(caller, Caller)
        if not caller.scope.allows(scope):
            raise Refusal("insufficient_scope", f"This needs a key with the scope {scope}; yours has {caller.scope}.")
        return caller

    return allowed


Reading = Annotated[Caller, Depends(_needs(Scope.READ))]
Writing = Annotated[Caller, Depends(_needs(Scope.WRITE))]
Administering = Annotated[Caller, Depends(_needs(Scope.ADMIN))]

_id = Path(pattern=ids.PATTERN, examples=[ID])
CodePath = Annotated[CodeId, _id]
TargetPath = Annotated[TargetId, _id]
AccountPath = Annotated[AccountId, _id]
KeyPath = Annotated[KeyId, _id]
NumberPath = Annotated[int, Path(ge=1, le=limits.OPTION_NUMBER_MAX, examples=[1])]


def _if_match(
    if_match: Annotated[
        str | None, Header(description="The ETag you have seen: 412 when it has changed since.", examples=['"3"'])
    ] = None,
) -> Versions:
    if if_match is None or if_match.strip() == "*":
        return None
    # A weak tag never matches (RFC 9110, 13.1.1), and neither does one that is none of ours. Quotes are easily lost in
    # a shell, and a bare number can mean nothing else.
    tags = (tag.strip() for tag in if_match.split(","))
    return frozenset(int(tag.strip('"')) for tag in tags if re.fullmatch(r'"[1-9][0-9]{0,17}"|[1-9][0-9]{0,17}', tag))


IfMatch = Annotated[Versions, Depends(_if_match)]


def tag(response: Response, version: int) -> None:
    """Put the ETag of a version on an answer."""
    response.headers["ETag"] = etag(version)


@dataclass(frozen=True, slots=True)
class Cut:
    """Say which page is asked for."""

    size: int
    cursor: str | None

    def after(self, pattern: str) -> re.Match[str] | None:
        """Read the cursor, which spells the last thing on the page before.

        Raises: Refusal `bad_cursor`.
        """
        if self.cursor is None:
            return None
        try:
            text = base64.urlsafe_b64decode(self.cursor + "==").decode()
        except (ValueError, binascii.Error):
            text = ""
        if (found := re.fullmatch(pattern, text)) is None:
            raise Refusal("bad_cursor", "This cursor is none of ours; begin again without one.", "cursor")
        return found

    def pages(self, found: Sequence[T], spell: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
        """Cut what was found, one more than was asked for, to the page and the cursor of the next."""
        page = found[: self.size]
        if len(found) <= self.size:
            return page, None
        return page, base64.urlsafe_b64encode(spell(page[-1]).encode()).decode().rstrip("=")


def _cut(
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_MAX, examples=[limits.PAGE_DEFAULT])] = limits.PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> Cut:
    return Cut(limit, cursor)


Cutting = Annotated[Cut, Depends(_cut)]


@dataclass(frozen=True, slots=True)
class Repeatable:
    """Stand for a POST that may come twice."""

    context: ApiContext
    caller: Caller
    path: str
    key: str | None

    async def once(self, content: Any, render: Callable[[T], Any], status: int = 201) -> Once[T]:
        """Make it happen once, or answer what was answered before.

        Shapes: `content` is JSON that says all that was asked; `render` turns the result into the JSON of the answer.
        Raises: Answered; Refusal `bad_idempotency_key`, `idempotency_key_reused`; StoreAway.
        """
        if self.key is not None and not _IDEMPOTENCY_KEY.fullmatch(self.key):
            raise Refusal("bad_idempotency_key", "An Idempotency-Key is 1 to 255 visible ASCII characters.")
        asked = json.dumps([self.path, content], sort_keys=True).encode()
        now = self.context.clock()
        once = Once(self.caller.workspace, self.key, hashlib.sha256(asked).digest(), render, now, status)
        await once.replay(self.context.database)
        return once


def _repeatable(
    request: Request,
    context: Context,
    idempotency_key: Annotated[
        str | None,
        Header(description="Any text of your own: a repeat within a day changes nothing.", examples=["order-4711"]),
    ] = None,
) -> Repeatable:
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return Repeatable(context, caller, request.url.path, idempotency_key)


Repeating = Annotated[Repeatable, Depends(_repeatable)]
