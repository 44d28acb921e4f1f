"""What the tests of pages share: a browser's way of reading one, and the usual texts of each."""

from html.parser import HTMLParser
from typing import Any, Final

from app.domain.payload import TargetKind
from app.web.pages import Language

SIZE_LIMIT: Final = 14_000
USUAL: Final[dict[str, Any]] = {
    "code_name": "Poster 12",
    "title": "夏日读书会",
    "notice": "进群后请改昵称。",
    "target_name": "读书会 3 群",
    "kind": TargetKind.WECHAT_GROUP,
    "image_url": "/k7m2xqd/seat/token.png",
    "language": Language.ZH,
    "place": "phone",
}
NAMED: Final[dict[str, Any]] = {"code_name": "Poster 12", "title": "夏日读书会", "language": Language.ZH}
CONTACT: Final[dict[str, Any]] = {
    **NAMED,
    "message": "先加店长。",
    "kind": TargetKind.WECHAT_PERSONAL,
    "image_url": "/k7m2xqd/instead.png",
    "place": "phone",
}
TAP: Final[dict[str, Any]] = {**NAMED, "notice": None, "url": "weixin://dl/business/?t=Ab1&cq=x%3D1", "desktop": False}
MENU: Final[dict[str, Any]] = {
    **NAMED,
    "notice": "选一个离你近的城市。",
    "options": [
        ("上海", "静安、徐汇、浦东", "/spring26/1"),
        ("北京", None, "/spring26/7"),
        ("线上", "", "/spring26/2"),
    ],
}
# Quotes take five bytes when escaped; outside the BMP, four bytes a character and nothing to escape.
LONG_WORDS: Final = ["'", "&", "𠮷", "\U0001f468\u200d", "\u202e", "\n", "W"]


class Reader(HTMLParser):
    """Read a page as a browser would: every element, every attribute, every text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.texts)
