"""Shape what the explain endpoint gives."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.domain.code import TargetState
from app.services.explaining import Explanation
from app.web.answers import ID
from app.web.code_schemas import Fallback
from app.web.fields import ShownInstant
from app.web.schemas import example

Reason = Literal["expired", "full", "paused", "off_shift", "capped", "unavailable"]


class ChanceOut(BaseModel):
    """A target that may be given, and how likely."""

    target_id: str
    name: str
    chance: float


class StateOut(BaseModel):
    """A target, and why it would not be given; `null` when it could be."""

    target_id: str
    name: str
    reason: Reason | None


class ExplanationOut(BaseModel):
    """What a new visitor, with WeChat on his phone, would be given at `at`.

    Places are counted as they are now; adds are those of the local day of `at`, so none on a day to come. `counts` is
    `recorded` when Redis could not be asked.
    """

    model_config = example(
        at="2026-11-22T02:00:00Z", channel=0, outcome="claimed", reason=None,
        goal=None, given=[{"target_id": ID, "name": "小美", "chance": 1.0}],
        targets=[{"target_id": ID, "name": "小美", "reason": None}],
        summary={"live": 1, "off_shift": 2}, counts="live",
    )  # fmt: skip

    at: ShownInstant
    channel: int
    outcome: Literal["claimed", "full", "fallback", "menu", "disabled", "not_open", "ended"]
    reason: str | None = Field(description="Why nobody would be given: a target's reason, `not_open` or `ended`.")
    given: list[ChanceOut]
    goal: Fallback | None = Field(description="Where the fallback leads, in the end.")
    targets: list[StateOut] = Field(description="The first thousand, in the order in which they fill.")
    summary: Mapping[TargetState, int] = Field(description="How many targets of each state there are.")
    counts: Literal["live", "recorded"]

    @classmethod
    def of(cls, explanation: Explanation, at: datetime, channel: int) -> "ExplanationOut":
        """Show an explanation."""
        return cls.model_validate({
            "at": at,
            "channel": channel,
            "outcome": explanation.outcome,
            "reason": explanation.reason,
            "given": [
                {"target_id": target.id, "name": target.name, "chance": chance}
                for target, chance in explanation.chances
            ],
            "goal": None if explanation.goal is None else Fallback.of(explanation.goal),
            "targets": [
                {"target_id": target.id, "name": target.name, "reason": None if state is TargetState.LIVE else state}
                for target, state in explanation.states
            ],
            "summary": dict(explanation.summary),
            "counts": "live" if explanation.live else "recorded",
        })  # fmt: skip
