"""When a QR dies."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.domain.errors import Refusal
from app.domain.expiry import check_expiry, natural_expiry
from app.domain.payload import TargetKind

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("kind", "printed_on", "zone", "expected"),
    [
        (TargetKind.WECHAT_GROUP, None, SHANGHAI, datetime(2026, 11, 28, 9, tzinfo=UTC)),
        (TargetKind.WECHAT_GROUP, date(2026, 11, 28), SHANGHAI, datetime(2026, 11, 28, 9, tzinfo=UTC)),
        (TargetKind.WECHAT_GROUP, date(2026, 11, 27), SHANGHAI, datetime(2026, 11, 27, 15, tzinfo=UTC)),
        (TargetKind.WECHAT_GROUP, date(2026, 11, 27), BERLIN, datetime(2026, 11, 27, 22, tzinfo=UTC)),
        (TargetKind.WECHAT_GROUP, date(2026, 11, 29), SHANGHAI, datetime(2026, 11, 28, 9, tzinfo=UTC)),
        (TargetKind.WECHAT_GROUP, date(2026, 11, 20), SHANGHAI, datetime(2026, 11, 20, 15, tzinfo=UTC)),
        (TargetKind.WECOM_GROUP, None, SHANGHAI, None),
        (TargetKind.WECOM_GROUP, date(2026, 11, 27), SHANGHAI, datetime(2026, 11, 27, 15, tzinfo=UTC)),
        (TargetKind.WECHAT_PERSONAL, None, SHANGHAI, None),
    ],
)
def test_the_earliest_end_counts_less_the_margin(
    kind: TargetKind, printed_on: date | None, zone: ZoneInfo, expected: datetime | None
) -> None:
    assert natural_expiry(kind, NOW, printed_on, zone, HOUR) == expected


def test_a_day_of_twenty_five_hours_ends_at_its_own_midnight() -> None:
    # Clocks in Berlin go back on 25 October 2026.
    uploaded = datetime(2026, 10, 20, tzinfo=UTC)
    end = natural_expiry(TargetKind.WECOM_GROUP, uploaded, date(2026, 10, 25), BERLIN, timedelta(0))
    assert end == datetime(2026, 10, 25, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires_at", "code"),
    [(NOW, "already_expired"), (NOW - HOUR, "already_expired"), (NOW + timedelta(days=3654), "expires_too_late")],
)
def test_an_expiry_lies_in_the_next_ten_years(expires_at: datetime, code: str) -> None:
    with pytest.raises(Refusal, match=code):
        check_expiry(expires_at, NOW)
    check_expiry(NOW + HOUR, NOW)
    check_expiry(NOW + timedelta(days=3653), NOW)
