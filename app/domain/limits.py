"""Name every bound of the product. The only file where such a number stands."""

from typing import Final

# A target without a member limit still has a number, so that the counters know one path only.
UNLIMITED: Final = 1_000_000_000

MEMBER_LIMIT_MAX: Final = UNLIMITED
WEIGHT_MAX: Final = 10_000
POSITION_MAX: Final = 1_000_000_000
TARGETS_PER_CODE: Final = 50_000
BATCH_ROWS: Final = 1_000
NAME_LENGTH: Final = 100
NOTICE_LENGTH: Final = 500
CAPTION_LENGTH: Final = 40

OPTIONS_PER_MENU: Final = 50
OPTION_NUMBER_MAX: Final = 999_999
CHANNELS_PER_CODE: Final = 1_000
# WeCom cuts what it is told of where a customer came from (docs/facts.md §3).
CHANNEL_STATE_LENGTH: Final = 30
FALLBACK_CHAIN: Final = 5
DAILY_CAP_MAX: Final = UNLIMITED
SPECIAL_DATES: Final = 400
WINDOWS_PER_DAY: Final = 10
NEW_SEATS_PER_MINUTE_DEFAULT: Final = 300
NEW_SEATS_PER_MINUTE_MAX: Final = 1_000_000
# Of the adds that one account may take in a day, one network may take one in so many within an hour, over all codes of
# the workspace, and these in any case.
CAP_SHARE: Final = 4
CAP_SHARE_MIN: Final = 5
QUERY_LENGTH: Final = 1_024

# Candidates offered to one claim. `fill` needs the first with room; the others are for what was taken meanwhile.
WINDOW: Final = 50
# `fill` takes the first: more than a few cost every scan, and only help one that meets them all full at once.
FILL_WINDOW: Final = 10

HOLD_SECONDS_DEFAULT: Final = 90
# A hold must end within the local day after the one it was taken on: its daily add is given back to one of two keys.
HOLD_SECONDS_MAX: Final = 3_600
HOLD_SECONDS_MIN: Final = 10
STICKY_DAYS_DEFAULT: Final = 30
STICKY_DAYS_MAX: Final = 365

# RFC 6265 §6.1 asks browsers for at least 50 cookies a domain; leaving most of them to the host's other pages.
SEAT_COOKIES: Final = 20

SLUG_LENGTH: Final = 7
SLUG_MIN: Final = 3
SLUG_MAX: Final = 40

QR_PAYLOAD_LENGTH: Final = 1_024
LINK_LENGTH: Final = 2_048

EXPIRY_MARGIN_SECONDS_DEFAULT: Final = 3_600
EXPIRY_MARGIN_SECONDS_MAX: Final = 3 * 86_400
EXPIRES_IN_DAYS_MAX: Final = 3_653
GROUP_MEMBER_LIMIT_DEFAULT: Final = 200

# Between two targets in a row, so that a third can be put there without touching either.
POSITION_STEP: Final = 1_024

STATS_DAYS_DEFAULT: Final = 7
STATS_DAYS_BY_HOUR: Final = 366
STATS_DAYS_MAX: Final = 3_660
YEAR_MIN: Final = 2000
YEAR_MAX: Final = 2999

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 100
KEYS_PER_WORKSPACE: Final = 1_000
IDEMPOTENCY_HOURS: Final = 24

JSON_BYTES: Final = 2 * 1024 * 1024
UPLOAD_BYTES: Final = 12 * 1024 * 1024
