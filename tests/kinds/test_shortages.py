"""Nobody on shift, all expired, no group yet, all full: what a visitor is told, and when to come back."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.conftest import Clock
from tests.kinds.conftest import group
from tests.kinds.test_staff import adviser, staff
from tests.scanning import Process
from tests.web.api.steps import done, make_code

WEEK = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "18:00"}


async def asked(process: Process, slug: str, **headers: str) -> tuple[dict[str, Any], httpx.Response]:
    """Ask as a program and as a person."""
    told = await process.phone(Accept="application/json").client.get(f"/{slug}")
    return told.json(), await process.phone(**headers).client.get(f"/{slug}")


@pytest.mark.parametrize(
    ("now", "zh", "en", "opens_at", "retry"),
    [
        # 2026-11-25 is a Wednesday.
        ("2026-11-24T23:00:00Z", "今天 09:00 见", "today at 09:00", "2026-11-25T01:00:00+00:00", 3_600),
        ("2026-11-25T00:59:30Z", "今天 09:00 见", "today at 09:00", "2026-11-25T01:00:00+00:00", 30),
        ("2026-11-25T12:00:00Z", "明天 09:00 见", "tomorrow at 09:00", "2026-11-26T01:00:00+00:00", 3_600),
        ("2026-11-27T10:00:00Z", "星期一 09:00 见", "on Monday at 09:00", "2026-11-30T01:00:00+00:00", 3_600),
    ],
)
async def test_nobody_on_shift_says_when_somebody_is(
    process: Process, api: httpx.AsyncClient, clock: Clock, now: str, zh: str, en: str, opens_at: str, retry: int
) -> None:
    code = await staff(api, await adviser(api, "Ann", shifts=[WEEK]))
    clock.now = datetime.fromisoformat(now)
    told, page = await asked(process, code["slug"])
    _, english = await asked(process, code["slug"], **{"Accept-Language": "en"})

    assert (told["outcome"], told["reason"]) == ("full", "off_shift")
    assert datetime.fromisoformat(told["opens_at"]) == datetime.fromisoformat(opens_at)
    assert (page.status_code, page.headers["retry-after"]) == (503, str(retry))
    assert "客服已下班" in page.text
    assert zh in page.text.replace("<time>", "").replace("</time>", "")
    assert f"<time>{en}</time> (Asia/Shanghai)" in english.text
    assert "再试一次" not in page.text


async def test_the_next_opening_is_the_first_of_all_and_knows_absences_and_holidays(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    holiday = [{"date": "2026-11-26", "windows": []}]
    ann = await adviser(api, "Ann", shifts=[WEEK], special_dates=holiday)
    bob = await adviser(api, "Bob", shifts=[WEEK | {"from": "14:00"}])
    away = {"available": False, "until": "2026-11-26T07:30:00Z"}
    done(await api.put(f"/accounts/{bob['id']}/availability", json=away))
    code = await staff(api, ann, bob)
    clock.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    told, page = await asked(process, code["slug"])
    assert datetime.fromisoformat(told["opens_at"]) == datetime(2026, 11, 26, 7, 30, tzinfo=UTC)
    assert "明天 15:30" in page.text


async def test_all_expired_none_yet_and_all_full_are_three_pages(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    expired, full, paused = await group(api, 9), await group(api, 0), await group(api, 9)
    empty = await make_code(api)
    for code in (full, paused):
        at = {"expires_at": "2026-12-30T00:00:00Z"}
        done(await api.patch(f"/targets/{code['targets'][0]['id']}", json=at))
    done(await api.patch(f"/targets/{paused['targets'][0]['id']}", json={"status": "paused"}))
    clock.forward(days=8)
    met = {}
    words = {"expired": "群二维码已过期", "empty": "还没有放入群", "full": "名额暂时满了", "paused": "暂时不接待"}
    for name, code in {"expired": expired, "empty": empty, "full": full, "paused": paused}.items():
        told, page = await asked(process, code["slug"])
        met[name] = (told["reason"], told["opens_at"], page.headers["retry-after"], "再试一次" in page.text)
        assert [one for one, text in words.items() if text in page.text] == [name]
    assert met == {
        "expired": ("expired", None, "300", True),
        "empty": ("empty", None, "300", False),
        "full": ("full", None, "60", True),
        "paused": ("paused", None, "300", False),
    }


async def test_a_cap_that_is_reached_opens_at_midnight(process: Process, api: httpx.AsyncClient, clock: Clock) -> None:
    code = await staff(api, await adviser(api, "Ann", 1))
    clock.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert (await process.phone().visit(code["slug"])).outcome == "claimed"
    told, page = await asked(process, code["slug"])
    assert told["reason"] == "capped"
    assert datetime.fromisoformat(told["opens_at"]) == datetime(2026, 11, 25, 16, tzinfo=UTC)
    assert "今天的名额满了" in page.text
    assert "明天 00:00" in page.text


async def test_a_menu_without_options_says_so(process: Process, api: httpx.AsyncClient) -> None:
    told, page = await asked(process, (await make_code(api, kind="menu"))["slug"])
    assert told["reason"] == "empty"
    assert "还没有放入选项" in page.text


async def test_a_cap_of_nobody_is_no_promise_for_tomorrow(process: Process, api: httpx.AsyncClient) -> None:
    never = await adviser(api, "never", 0)
    code = await staff(api, never)
    told, page = await asked(process, code["slug"])
    assert (told["reason"], told["opens_at"]) == ("unavailable", None)
    assert "00:00" not in page.text
    (target,) = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
    assert (target["state"], done(await api.get(f"/accounts/{never['id']}"))["state"]) == ("unavailable", "unavailable")
    explained = done(await api.get(f"/codes/{code['id']}/explain"))
    assert (explained["reason"], explained["summary"]) == ("unavailable", {"unavailable": 1})
    # Not even when the absence of the account is over.
    away = {"available": False, "until": "2026-11-26T07:30:00Z"}
    done(await api.put(f"/accounts/{never['id']}/availability", json=away))
    told, _ = await asked(process, code["slug"])
    assert (told["reason"], told["opens_at"]) == ("unavailable", None)


async def test_a_cap_of_nobody_gives_as_soon_as_it_is_lifted(process: Process, api: httpx.AsyncClient) -> None:
    never = await adviser(api, "never", 0)
    code = await staff(api, never)
    await asked(process, code["slug"])
    done(await api.patch(f"/accounts/{never['id']}", json={"daily_cap": 1}))
    phone = process.phone()
    assert (await phone.visit(code["slug"])).outcome == "claimed"
    done(await api.patch(f"/accounts/{never['id']}", json={"daily_cap": 0}))
    assert (await phone.visit(code["slug"])).outcome == "returned", "a cap is for new visitors"


async def test_a_code_without_targets_is_explained_as_empty(process: Process, api: httpx.AsyncClient) -> None:
    there = await staff(api, await adviser(api, "Ann"))
    for fallback in (None, {"code_id": there["id"]}):
        code = await make_code(api, kind="staff", fallback=fallback)
        told = done(await api.get(f"/codes/{code['id']}/explain"))
        assert told["reason"] == "empty"
