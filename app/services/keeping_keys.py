"""Give, check and revoke API keys (密钥)."""

import hashlib
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.domain import limits
from app.domain.code import WorkspaceId
from app.domain.errors import Refusal
from app.domain.expiry import check_expiry
from app.domain.workspace import Scope
from app.services.editing import new_id, not_found
from app.services.once import Once
from app.store import keys, workspaces
from app.store.database import Database, Writing
from app.store.keys import ApiKey, KeyId

_PREFIX: Final = "hm_"
_ALPHABET: Final = string.ascii_letters + string.digits
# 238 bits of chance, so that the hash of a key needs neither salt nor slowness.
_RANDOM_CHARACTERS: Final = 40
_LEAST_CHARACTERS: Final = len(_PREFIX) + 32
_HINT_CHARACTERS: Final = len(_PREFIX) + 4


@dataclass(frozen=True, slots=True)
class Caller:
    """Say on whose behalf a request is made, and what it may do."""

    workspace: WorkspaceId
    key: KeyId
    scope: Scope


@dataclass(frozen=True, slots=True)
class MadeKey:
    """Hold a new key with its secret, which is shown now and never again."""

    key: ApiKey
    secret: str


class KeyKeeper:
    """Keep the keys of workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, secret: str, now: datetime) -> Caller:
        """Tell who holds a key. Nothing is remembered, so a revoked key is useless with the next request.

        Raises: Refusal `unauthenticated` — unknown, expired and revoked keys alike; StoreAway.
        Cost: one hash and one query, whatever the key looks like.
        """
        async with self._database.reading() as connection:
            key = await keys.find_by_hash(connection, _digest(secret))
        if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise unauthenticated()
        return Caller(key.workspace_id, key.id, key.scope)

    async def create(
        self,
        workspace: WorkspaceId,
        name: str,
        scope: Scope,
        expires_at: datetime | None,
        now: datetime,
        once: Once[MadeKey],
    ) -> MadeKey:
        """Give a new key.

        Raises: Refusal `already_expired`, `expires_too_late`, `too_many_keys`; StoreAway.
        """
        if expires_at is not None:
            check_expiry(expires_at, now)
        async with self._database.editing(workspace) as tx:
            await once.begin(tx)
            await workspaces.lock(tx, workspace)
            if await keys.count(tx, workspace) >= limits.KEYS_PER_WORKSPACE:
                raise Refusal("too_many_keys", f"A workspace has had at most {limits.KEYS_PER_WORKSPACE} keys.")
            made = await insert_key(tx, workspace, name, scope, now, expires_at=expires_at)
            await once.keep(tx, made)
        return made

    async def page(self, workspace: WorkspaceId, before: KeyId | None, size: int) -> list[ApiKey]:
        """List keys, newest first. Raises: Refusal `too_many_reads`; StoreAway."""
        async with self._database.viewing(workspace) as connection:
            return await keys.page(connection, workspace, before, size)

    async def revoke(self, workspace: WorkspaceId, key: KeyId, now: datetime) -> None:
        """Make a key useless at once; harmless when it is already.

        Raises: Refusal `not_found`, `last_admin_key` — nobody could give keys any more; StoreAway.
        """
        async with self._database.editing(workspace) as tx:
            # Two admins who revoke each other's keys must not both succeed.
            await workspaces.lock(tx, workspace)
            found = await keys.find(tx, workspace, key)
            if found is None:
                raise not_found()
            works = found.revoked_at is None and (found.expires_at is None or found.expires_at > now)
            if works and found.scope is Scope.ADMIN and await keys.count_admins(tx, workspace, now) == 1:
                raise Refusal("last_admin_key", "This is the last working admin key; create another one first.")
            await keys.revoke(tx, workspace, key, now)


async def insert_key(
    tx: Writing,
    workspace: WorkspaceId,
    name: str,
    scope: Scope,
    now: datetime,
    *,
    expires_at: datetime | None = None,
    secret: str | None = None,
) -> MadeKey:
    """Write a key, drawn at random unless one is given."""
    secret = secret or _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    key = ApiKey(KeyId(new_id(now)), workspace, name, secret[:_HINT_CHARACTERS], scope, now, expires_at, None)
    await keys.insert(tx, key, _digest(secret))
    return MadeKey(key, secret)


async def is_known(tx: Writing, secret: str) -> bool:
    """Tell whether a key was ever given, even if it was revoked."""
    return await keys.find_by_hash(tx, _digest(secret)) is not None


def check_secret(secret: str) -> str:
    """Accept a key that an operator made up.

    Raises: Refusal `weak_key`.
    """
    body = secret.removeprefix(_PREFIX)
    if not secret.startswith(_PREFIX) or len(secret) < _LEAST_CHARACTERS or not set(body) <= set(_ALPHABET):
        raise Refusal("weak_key", f"A key is {_PREFIX} and at least 32 random letters and digits.")
    return secret


def unauthenticated() -> Refusal:
    """Refuse a caller without saying what is wrong with his key."""
    return Refusal("unauthenticated", "Send a valid API key: Authorization: Bearer hm_…")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
