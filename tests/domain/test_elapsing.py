"""What lasts for a while ends when the clock is set back, and not for a trifle."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.code import Code, CodeId, CodeKind, Strategy, Target, TargetId, TargetStatus, WorkspaceId
from app.domain.elapsing import lasts
from app.domain.payload import TargetKind
from app.domain.roster import Roster

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("later", "on"), [(0, True), (59, True), (60, False), (3600, False), (-0.5, True), (-2, False), (-3600, False)]
)
def test_a_span_goes_on_from_its_beginning_to_its_end(later: float, *, on: bool) -> None:
    assert lasts(NOW, NOW + timedelta(seconds=later), MINUTE) is on


def test_a_target_that_had_expired_is_offered_again_when_the_clock_is_set_back() -> None:
    target = Target(
        TargetId("t"), "t", TargetKind.WECHAT_GROUP, "p", TargetStatus.LIVE, 10, expires_at=NOW + timedelta(days=1)
    )
    code = Code(
        CodeId("c"), WorkspaceId("w"), "n", CodeKind.GROUP, Strategy.FILL, 1, "Asia/Shanghai", (target,)
    )  # fmt: skip
    roster = Roster(code, {}, 0)
    assert roster.window(NOW + timedelta(days=2), 8)[0] == []
    assert roster.window(NOW + timedelta(days=2) - timedelta(seconds=0.5), 8)[0] == [], "too little to look again"
    assert roster.window(NOW, 8)[0] == [0]
