from datetime import UTC, datetime


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
