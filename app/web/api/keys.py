"""Routes of API keys (密钥)."""

from typing import Any

from fastapi import APIRouter

from app.domain import ids
from app.services.keeping_keys import MadeKey
from app.store.keys import KeyId
from app.web.answers import KeyOut, KeyPage, MadeKeyOut
from app.web.api.asking import Administering, Context, Cutting, KeyPath, Repeating
from app.web.api.docs import problems
from app.web.schemas import NewKey

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post(
    "",
    status_code=201,
    summary="Give an API key",
    responses=problems("already_expired", "expires_too_late", "too_many_keys", "body", "idempotency"),
)
async def create_key(body: NewKey, context: Context, caller: Administering, ask: Repeating) -> MadeKeyOut:
    """Give a key, and show its secret this once.

    The secret is stored nowhere: a repeat with the same Idempotency-Key is answered with `key: null`. If the first
    answer was lost, revoke that key and give another.
    """
    once = await ask.once(body.model_dump(mode="json"), _without_secret)
    made = await context.keys.create(caller.workspace, body.name, body.scope, body.expires_at, context.clock(), once)
    return MadeKeyOut(**KeyOut.of(made.key).model_dump(), key=made.secret)


@router.get("", summary="List API keys", responses=problems("bad_cursor", "invalid"))
async def list_keys(context: Context, caller: Administering, cut: Cutting) -> KeyPage:
    """List the keys of the workspace, newest first, revoked ones too."""
    after = cut.after(ids.PATTERN)
    found = await context.keys.page(caller.workspace, KeyId(after[0]) if after else None, cut.size + 1)
    page, following = cut.pages(found, lambda key: key.id)
    return KeyPage(items=[KeyOut.of(key) for key in page], next=following)


@router.delete(
    "/{key_id}", status_code=204, summary="Revoke an API key", responses=problems("not_found", "last_admin_key")
)
async def revoke_key(key_id: KeyPath, context: Context, caller: Administering) -> None:
    """Make a key useless with the next request. The last working admin key stays."""
    await context.keys.revoke(caller.workspace, key_id, context.clock())


def _without_secret(made: MadeKey) -> Any:
    return MadeKeyOut(**KeyOut.of(made.key).model_dump(), key=None).model_dump(mode="json")
