"""Hold what routes need, put together once by the root."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from redis.asyncio import Redis

from app.domain.pseudonym import Pseudonyms
from app.qr.lettering import find_font
from app.qr.reader import Reader
from app.services.arranging import MenuEditor
from app.services.channelling import ChannelKeeper
from app.services.editing import Editing, Publisher
from app.services.erasing import Eraser
from app.services.explaining import Explainer
from app.services.keeping_accounts import AccountKeeper
from app.services.keeping_codes import CodeEditor
from app.services.keeping_keys import KeyKeeper
from app.services.keeping_workspaces import WorkspaceKeeper
from app.services.placing import TargetEditor
from app.services.printing import Printer
from app.services.recounting import Recounter
from app.services.reporting import Reporter
from app.services.viewing import Viewer
from app.store.database import Database


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Hold every service of the API, and the one clock."""

    database: Database
    codes: CodeEditor
    menus: MenuEditor
    channels: ChannelKeeper
    targets: TargetEditor
    accounts: AccountKeeper
    recounter: Recounter
    viewer: Viewer
    explainer: Explainer
    printer: Printer
    reporter: Reporter
    keys: KeyKeeper
    workspaces: WorkspaceKeeper
    visitors: Eraser
    clock: Callable[[], datetime]

    @classmethod
    def of(
        cls,
        *,
        database: Database,
        redis: Redis,
        publisher: Publisher,
        reader: Reader,
        public_url: str,
        clock: Callable[[], datetime],
        pseudonyms: Pseudonyms | None = None,
        caption_font: str = "",
    ) -> Self:
        """Put the services together.

        Shapes: `public_url` is what prints begin with, such as `https://qr.example`, without a slash at its end;
        `pseudonyms` as the drain has them; `caption_font` is the path of a font, which is looked for when it is empty.
        Raises: ValueError — `caption_font` is no font.
        """
        public_url = public_url.rstrip("/")
        editing = Editing(database, redis, publisher)
        return cls(
            database=database,
            codes=CodeEditor(editing, public_url),
            menus=MenuEditor(editing),
            channels=ChannelKeeper(editing),
            targets=TargetEditor(editing, reader, public_url),
            accounts=AccountKeeper(editing),
            recounter=Recounter(editing),
            viewer=Viewer(database, redis),
            explainer=Explainer(database, redis),
            printer=Printer(database, public_url, find_font(caption_font)),
            reporter=Reporter(database),
            keys=KeyKeeper(database),
            workspaces=WorkspaceKeeper(database, redis),
            visitors=Eraser(database, redis, pseudonyms or Pseudonyms(tuple)),
            clock=clock,
        )
