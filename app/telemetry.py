"""Declare every metric and the log format. The only file that names one."""

import json
import logging
import sys
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

SCANS: Final = Counter("huoma_scans", "Scans by what the visitor was told.", ["outcome"])
BATCH_SIZE: Final = Histogram(
    "huoma_claim_batch_size", "Asks that shared one round trip.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
REREADS: Final = Counter("huoma_code_rereads", "Codes read anew because another version was in force.")
DRAINED: Final = Counter("huoma_drained_events", "Events brought into the record.")
BACKLOG: Final = Gauge(
    "huoma_stream_backlog", "Stream entries the record does not have yet.", multiprocess_mode="mostrecent"
)
LAG: Final = Gauge(
    "huoma_stream_lag_seconds",
    "Age of the oldest stream entry the record does not have yet.",
    multiprocess_mode="mostrecent",
)
UNREADABLE: Final = Gauge(
    "huoma_unreadable_entries", "Stream entries set aside: they could not be recorded.", multiprocess_mode="mostrecent"
)
RELEASED_SWEEPS: Final = Counter("huoma_hold_sweeps", "Codes whose late holds the worker took back.")
RESTED: Final = Counter("huoma_codes_rested", "Codes whose counters left Redis because nobody scanned them.")
WOKEN: Final = Counter("huoma_codes_woken", "Codes whose counters came back with the next scan.")
SKEW: Final = Gauge(
    "huoma_clock_skew_seconds",
    "By how much a clock (own, redis, postgresql) differs from the time that is used; of several servers the worst.",
    ["clock"],
    multiprocess_mode="mostrecent",
)

log: Final = logging.getLogger("huoma")


class _Json(logging.Formatter):
    """Write one JSON object a line; no client address, user agent or key is ever put into one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging() -> None:
    """Send our log lines to standard error, and silence access logs: they would hold client addresses."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def say(event: str, /, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Log one static event name with its fields."""
    log.log(level, event, extra={"fields": fields}, exc_info=error)
