"""Say no (拒绝): what a caller asked for and cannot have.

The only exceptions that callers are meant to read. They know no HTTP; one table in ``web/edge.py`` gives each code its
status.
"""


class Refusal(Exception):  # noqa: N818  # A refusal is an answer, not a fault of ours.
    """Refuse a request with a stable code and a sentence that says what to do.

    Shapes: ``code`` is snake_case and never changes its meaning; ``detail`` is one English sentence; ``where`` names
    the field at fault, if one is. All three survive pickling, since all three are ``args``.
    """

    def __init__(self, code: str, detail: str, where: str | None = None) -> None:
        super().__init__(code, detail, where)
        self.code = code
        self.detail = detail
        self.where = where

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class UploadRefusal(Refusal):
    """Refuse an uploaded picture or payload (上传被拒).

    Shapes: ``code`` is one of ``unsupported_media_type``, ``image_too_large``, ``unreadable_image``, ``no_qr_code``,
    ``several_qr_codes``, ``unsupported_qr_kind``.
    """


class CountersAway(Exception):  # noqa: N818  # It is away, and may be back in a second.
    """Say that Redis cannot be asked now. What was asked may or may not have happened; nothing was over-given."""


class StoreAway(Exception):  # noqa: N818  # As above.
    """Say that PostgreSQL cannot be asked now. What a transaction had begun has not happened."""
