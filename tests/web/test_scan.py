"""Scan, look, come back: everything a visitor can meet, on real servers, at any time of the clock."""

import asyncio
from io import BytesIO

import httpx
import pytest
import zxingcpp
from PIL import Image
from redis.asyncio import Redis

from app.domain import limits
from app.services import batching
from app.web import scan
from tests.conftest import Clock
from tests.running import group_payload
from tests.scanning import Make, Process

BOT = "mpcrawler"
DESKTOP = "Mozilla/5.0 (Windows NT 10.0) MicroMessenger/7.0.20 WindowsWechat(0x63090a13)"
BROWSER = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1"


async def test_a_scan_shows_a_qr_that_leads_to_the_first_group(process: Process, code: Make) -> None:
    made = await code(200, 200)
    phone = process.phone()

    seen = await phone.scan(made.slug)
    picture = await phone.look(seen)

    assert (seen.status, seen.outcome, seen.target) == (200, "claimed", made.targets[0])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    [read] = zxingcpp.read_barcodes(Image.open(BytesIO(picture.content)))
    assert read.text == group_payload(0)


async def test_a_page_may_be_kept_nowhere_and_is_small(process: Process, code: Make) -> None:
    made = await code(200, landing={"title": "标" * 60, "notice": "告" * 500})
    seen = await process.phone().scan(made.slug)
    assert "no-store" in seen.headers["cache-control"]
    assert len(seen.text.encode()) < 14_000


async def test_a_group_that_is_full_is_followed_by_the_next_and_then_by_a_friendly_page(
    process: Process, code: Make, redis: Redis
) -> None:
    """Trap 21: full is no 200.

    Trap 25: full is no dead end.
    """
    made = await code(2, 1)
    given = [(await process.phone().visit(made.slug)).target for _ in range(3)]
    full = await process.phone().scan(made.slug)

    assert given == [made.targets[0], made.targets[0], made.targets[1]]
    assert (full.status, full.outcome, full.image) == (503, "full", None)
    assert int(full.headers["retry-after"]) > 0
    assert await made.places(redis) == [(2, 0), (1, 0)]


async def test_a_group_is_skipped_from_the_very_second_it_expires(
    process: Process, code: Make, api: httpx.AsyncClient, clock: Clock
) -> None:
    made = await code(200, 200)
    dies = "2026-11-21T18:00:10+08:00"
    (await api.patch(f"/targets/{made.targets[0]}", json={"expires_at": dies})).raise_for_status()

    clock.forward(seconds=9.999)
    before = await process.phone().scan(made.slug)
    clock.forward(seconds=0.001)
    after = await process.phone().scan(made.slug)

    assert (before.target, after.target) == (made.targets[0], made.targets[1])


async def test_a_visitor_who_comes_back_sees_his_group_and_takes_no_second_place(
    process: Process, another_process: Process, code: Make, redis: Redis
) -> None:
    made = await code(1, 1)
    phone = process.phone()
    first = await phone.visit(made.slug)
    again = await phone.visit(made.slug)
    elsewhere = another_process.phone()
    elsewhere.client.cookies = phone.client.cookies
    third = await elsewhere.visit(made.slug)

    assert [first.outcome, again.outcome, third.outcome] == ["claimed", "returned", "returned"]
    assert {first.target, again.target, third.target} == {made.targets[0]}
    assert await made.places(redis) == [(1, 0), (0, 0)]


async def test_a_visitor_whose_group_has_expired_gets_another_at_once(
    process: Process, code: Make, api: httpx.AsyncClient, clock: Clock
) -> None:
    made = await code(5, 5)
    phone = process.phone()
    await phone.visit(made.slug)
    await api.patch(f"/targets/{made.targets[0]}", json={"expires_at": "2026-11-21T18:00:05+08:00"})
    clock.forward(seconds=5)
    assert (await phone.visit(made.slug)).target == made.targets[1]


async def test_a_page_alone_only_holds_a_place_and_it_comes_back(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    """Trap 4: a hold that nobody saw comes back."""
    made = await code(1, hold_seconds=90)
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    assert await made.places(redis) == [(1, 1)]
    clock.forward(seconds=89.999)
    assert (await process.phone().scan(made.slug)).outcome == "full"
    clock.forward(seconds=0.001)
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    assert await made.places(redis) == [(1, 1)]


async def test_a_place_that_was_seen_never_comes_back(process: Process, code: Make, clock: Clock, redis: Redis) -> None:
    made = await code(1)
    await process.phone().visit(made.slug)
    clock.forward(days=1)
    assert (await process.phone().scan(made.slug)).outcome == "full"
    assert await made.places(redis) == [(1, 0)]


async def test_the_worker_takes_back_what_no_scan_meets(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(3)
    for _ in range(3):
        await process.phone().scan(made.slug)
    clock.forward(seconds=90)
    assert await process.reconciler.sweep(made.workspace) == 1
    assert await made.places(redis) == [(0, 0)]
    assert await process.reconciler.sweep(made.workspace) == 0


async def test_a_picture_asked_for_too_late_claims_again(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(2)
    phone = process.phone()
    page = await phone.scan(made.slug)
    clock.forward(seconds=91)

    picture = await phone.look(page)
    repeated = await phone.look(page)

    assert picture.headers["x-huoma-outcome"] == "claimed"
    assert repeated.headers["x-huoma-outcome"] == "returned"
    assert await made.places(redis) == [(1, 0)]
    assert (await phone.scan(made.slug)).outcome == "returned"


async def test_a_picture_asked_for_when_nothing_is_left_shows_no_qr(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(1)
    late = process.phone()
    page = await late.scan(made.slug)
    clock.forward(seconds=91)
    await process.phone().visit(made.slug)

    picture = await late.look(page)

    assert (picture.status_code, picture.headers["x-huoma-outcome"]) == (503, "full")
    assert picture.headers["content-type"] == "image/png"
    assert zxingcpp.read_barcodes(Image.open(BytesIO(picture.content))) == []
    assert await made.places(redis) == [(1, 0)]


async def test_a_visitor_who_lost_his_hold_gets_the_same_group_again_if_it_has_room(
    process: Process, code: Make, api: httpx.AsyncClient, clock: Clock, redis: Redis
) -> None:
    made = await code(1, 5)
    await process.phone().visit(made.slug)
    late = process.phone()
    assert (await late.scan(made.slug)).target == made.targets[1]
    clock.forward(seconds=91)
    await api.patch(f"/targets/{made.targets[0]}", json={"member_limit": 5})
    assert (await late.scan(made.slug)).target == made.targets[1]


@pytest.mark.parametrize("headers", [{}, {"Sec-Purpose": "prefetch"}])
async def test_bots_heads_and_prefetches_take_nothing(
    process: Process, code: Make, redis: Redis, headers: dict[str, str]
) -> None:
    """Trap 3: a HEAD, a bot or a prefetch takes no place."""
    made = await code(1)
    bot = process.phone(BOT) if not headers else process.phone(**headers)
    seen = await bot.scan(made.slug)
    head = await process.phone().client.head(f"/{made.slug}")

    assert (seen.status, seen.outcome, seen.image) == (200, "preview", None)
    assert (head.status_code, head.headers["x-huoma-outcome"], head.content) == (200, "preview", b"")
    assert await made.places(redis) == [(0, 0)]


async def test_a_replay_of_the_picture_by_a_bot_does_not_keep_a_place(
    process: Process, code: Make, redis: Redis
) -> None:
    made = await code(1)
    page = await process.phone().scan(made.slug)
    replayed = await process.phone(BOT).look(page)
    assert zxingcpp.read_barcodes(Image.open(BytesIO(replayed.content))) == []
    assert await made.places(redis) == [(1, 1)]


@pytest.mark.parametrize("agent", [BROWSER, DESKTOP])
async def test_a_code_for_wechat_only_asks_others_to_open_it_there(
    process: Process, code: Make, redis: Redis, agent: str
) -> None:
    made = await code(1, wechat_only=True)
    seen = await process.phone(agent).scan(made.slug)
    assert (seen.status, seen.outcome, seen.image) == (200, "outside_wechat", f"/{made.slug}/print.png")
    assert await made.places(redis) == [(0, 0)]
    assert (await process.phone().scan(made.slug)).outcome == "claimed"


async def test_an_edit_is_seen_by_the_next_scan_of_every_process(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    """Trap 8: reading a code all the time keeps no old one alive."""
    made = await code(200, 200)
    for one in (process, another_process):
        assert (await one.phone().scan(made.slug)).target == made.targets[0]
    (await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"})).raise_for_status()
    for one in (process, another_process):
        assert (await one.phone().scan(made.slug)).target == made.targets[1]
    (await api.patch(f"/targets/{made.targets[0]}", json={"status": "live"})).raise_for_status()
    for one in (another_process, process):
        assert (await one.phone().scan(made.slug)).target == made.targets[0]


async def test_a_pause_counts_for_those_who_come_back_and_for_pictures(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    """Trap 6: a pause ends stickiness at once, and so do an expiry and a fresh QR (below and above)."""
    made = await code(200, 200)
    phone = process.phone()
    page = await phone.scan(made.slug)
    await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"})
    assert (await phone.look(page)).headers["x-huoma-outcome"] == "claimed"
    elsewhere = another_process.phone()
    elsewhere.client.cookies = phone.client.cookies
    assert (await elsewhere.scan(made.slug)).target == made.targets[1]


async def test_a_fresh_qr_keeps_places_and_visitors(process: Process, code: Make, api: httpx.AsyncClient) -> None:
    made = await code(2)
    phone = process.phone()
    await phone.visit(made.slug)
    (await api.put(f"/targets/{made.targets[0]}/qr", json={"payload": group_payload(77)})).raise_for_status()

    again = await phone.scan(made.slug)
    picture = await phone.look(again)

    assert again.outcome == "returned"
    assert zxingcpp.read_barcodes(Image.open(BytesIO(picture.content)))[0].text == group_payload(77)


async def test_a_reported_head_count_opens_a_group_again(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    made = await code(2)
    for _ in range(2):
        await process.phone().visit(made.slug)
    assert (await another_process.phone().scan(made.slug)).outcome == "full"
    assert (await process.phone().scan(made.slug)).outcome == "full"
    (await api.post(f"/targets/{made.targets[0]}/members", json={"count": 1})).raise_for_status()
    assert (await another_process.phone().visit(made.slug)).outcome == "claimed"
    assert (await process.phone().scan(made.slug)).outcome == "full"
    assert await made.places(redis) == [(2, 0)]


async def test_a_closed_code_is_gone_and_an_unknown_slug_is_not_found(
    process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    """Trap 21: what is not there is no 200."""
    made = await code(1)
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    (await api.delete(f"/codes/{made.id}")).raise_for_status()
    closed = await process.phone().scan(made.slug)
    unknown = await process.phone().scan("never-made")
    assert (closed.status, closed.outcome) == (410, "closed")
    assert (unknown.status, unknown.outcome) == (404, "unknown")
    assert "text/html" in unknown.headers["content-type"]


async def test_a_slug_scanned_before_it_was_made_works_once_it_is(process: Process, code: Make, redis: Redis) -> None:
    slug = f"early-{id(process)}"
    assert (await process.phone().scan(slug)).outcome == "unknown"
    await code(1, slug=slug)
    assert (await process.phone().scan(slug)).outcome == "claimed"


@pytest.mark.parametrize("path", ["/%00", "/" + "a" * 300, "/a b", "/%F0%9F%92%A9", "/..%2f..%2fetc", "/a;b", "/a'--"])
async def test_a_strange_path_is_a_friendly_404(process: Process, path: str) -> None:
    answer = await process.phone().client.get(path)
    assert answer.status_code == 404


async def test_a_forged_or_foreign_cookie_is_a_new_visitor(process: Process, code: Make, redis: Redis) -> None:
    made, other = await code(5), await code(5)
    phone = process.phone()
    await phone.visit(made.slug)
    token = phone.client.cookies[f"hm_{made.id}"]
    for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), "x", "1.2.3", token.replace(".0.", ".9.", 1)):
        thief = process.phone()
        thief.client.cookies.set(f"hm_{made.id}", forged)
        assert (await thief.scan(made.slug)).outcome == "claimed"
    foreign = process.phone()
    foreign.client.cookies.set(f"hm_{other.id}", token)
    assert (await foreign.scan(other.slug)).outcome == "claimed"


async def test_a_forged_picture_token_shows_no_qr(process: Process, code: Make, redis: Redis) -> None:
    made, other = await code(5), await code(5)
    page = await process.phone().scan(made.slug)
    assert page.image
    for path in (
        page.image.replace(".h.", ".s."),
        page.image.replace(made.slug, other.slug),
        f"/{made.slug}/seat/x.png",
    ):
        picture = await process.phone().client.get(path)
        assert picture.status_code == 404
        assert zxingcpp.read_barcodes(Image.open(BytesIO(picture.content))) == []
    assert await made.places(redis) == [(1, 1)]


async def test_json_tells_the_same_without_a_page(process: Process, code: Make) -> None:
    made = await code(1)
    client = process.phone(Accept="application/json").client
    body = (await client.get(f"/{made.slug}")).json()
    assert body["outcome"] == "claimed"
    assert body["code"] == {"name": "poster", "kind": "group"}
    assert body["target"]["id"] == made.targets[0]
    assert body["qr_image"] == f"https://qr.example/{made.slug}/seat/{body['seat']}.png"
    assert (body["url"], body["options"]) == (None, [])
    full = await process.phone(Accept="application/json").client.get(f"/{made.slug}")
    assert (full.status_code, full.json()["outcome"], full.json()["target"]) == (503, "full", None)


async def test_a_client_without_cookies_carries_its_seat_in_a_header(
    process: Process, code: Make, redis: Redis
) -> None:
    made = await code(2)
    first = (await process.phone(Accept="application/json").client.get(f"/{made.slug}")).json()
    again = process.phone(Accept="application/json", **{"X-Huoma-Seat": first["seat"]})
    assert (await again.client.get(f"/{made.slug}")).json()["outcome"] == "returned"
    assert await made.places(redis) == [(1, 1)]


async def test_the_oldest_seat_goes_when_a_visitor_carries_too_many(process: Process, code: Make, clock: Clock) -> None:
    phone = process.phone()
    codes = []
    for _ in range(limits.SEAT_COOKIES + 1):
        codes.append(await code(5))
        clock.forward(seconds=1)
        await phone.visit(codes[-1].slug)
    kept = {name for name in phone.client.cookies if name.startswith("hm_")}
    assert kept == {f"hm_{made.id}" for made in codes[1:]}


async def test_a_seat_cookie_serves_every_path_and_no_script(process: Process, code: Make) -> None:
    """Trap 5: the cookie names a seat, never a URL or a picture."""
    made = await code(1)
    cookie = (await process.phone().scan(made.slug)).headers["set-cookie"]
    assert cookie.startswith(f"hm_{made.id}=")
    for part in ("Path=/", "HttpOnly", "SameSite=Lax", "Secure"):
        assert part in cookie.split("; ")
    assert "http" not in cookie.split(";")[0].lower()


async def test_two_processes_never_give_the_same_last_place(
    process: Process, another_process: Process, code: Make, redis: Redis
) -> None:
    """Trap 2: nothing is checked first and done afterwards."""
    made = await code(10, 10)
    phones = [one.phone() for _ in range(30) for one in (process, another_process)]
    seen = await asyncio.gather(*(phone.scan(made.slug) for phone in phones))
    assert sorted(s.outcome for s in seen) == ["claimed"] * 20 + ["full"] * 40
    assert await made.places(redis) == [(10, 10), (10, 10)]


async def test_what_one_process_gave_back_another_offers_again(
    process: Process, another_process: Process, code: Make, clock: Clock
) -> None:
    made = await code(1, 1)
    assert (await process.phone().scan(made.slug)).target == made.targets[0]
    assert (await another_process.phone().visit(made.slug)).target == made.targets[1]
    assert (await another_process.phone().scan(made.slug)).outcome == "full"
    clock.forward(seconds=91)
    assert (await another_process.phone().visit(made.slug)).target == made.targets[0]
    assert (await process.phone().scan(made.slug)).outcome == "full"


async def test_a_slash_after_a_slug_is_no_dead_end(process: Process, code: Make) -> None:
    made = await code(1)
    phone = process.phone()
    seen = await phone.scan(f"{made.slug}/")
    assert (seen.status, seen.outcome) == (200, "claimed")
    assert (await phone.look(seen)).headers["x-huoma-outcome"] == "claimed"


async def test_a_full_page_has_the_marketers_notice(process: Process, code: Make) -> None:
    made = await code(0, landing={"title": "t", "notice": "加客服微信 abc123"})
    assert "加客服微信 abc123" in (await process.phone().scan(made.slug)).text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_posting_to_a_slug_is_not_allowed(process: Process, code: Make, redis: Redis, method: str) -> None:
    made = await code(1)
    for path in (
        f"/{made.slug}",
        f"/{made.slug}/1",
        f"/{made.slug}/print.png",
        f"/{made.slug}/seat/x.png",
        "/",
        "/a/b",
    ):
        answer = await process.phone().client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), path
        assert answer.headers["allow"] == "GET, HEAD"
    assert await made.places(redis) == [(0, 0)]


@pytest.mark.parametrize("what", ["page", "picture"])
async def test_a_fault_of_ours_is_a_friendly_page_and_a_line_in_the_log(
    process: Process, code: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    made = await code(5)
    phone = process.phone()
    page = await phone.scan(made.slug)

    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(batching, "settle", broken)
    answer = await phone.client.get(f"/{made.slug}" if what == "page" else page.image or "")
    assert (answer.status_code, answer.headers["x-huoma-outcome"]) == (503, "unavailable")
    assert "a fault of ours" not in answer.text
    assert next(record.getMessage() for record in caplog.records if record.levelname == "ERROR") == "scan_failed"


@pytest.mark.parametrize("slug", ["%00", "a" * 30_000, "a b"])
async def test_a_strange_slug_before_a_picture_is_asked_of_nobody(process: Process, slug: str) -> None:
    answer = await process.phone().client.get(f"/{slug}/seat/x.png")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "image/png")


async def test_an_endless_user_agent_costs_no_time(process: Process, code: Make) -> None:
    made = await code(5)
    scan.read_browser.cache_clear()
    seen = await process.phone("Mozilla/5.0 MicroMessenger/8.0 " + "x" * 100_000).scan(made.slug)
    assert seen.outcome == "claimed"
    assert scan.read_browser.cache_info().currsize == 1
    assert scan.read_browser(b"Mozilla/5.0 MicroMessenger/8.0 " + b"x" * (512 - 31), False).client == "wechat"
    assert scan.read_browser.cache_info().currsize == 1, "what is kept of it is its beginning"


async def test_a_cookie_of_endless_digits_is_ignored(process: Process, code: Make) -> None:
    made = await code(5)
    seen = await process.phone(Cookie="hm_x=1." + "9" * 5000 + ".z").scan(made.slug)
    assert (seen.status, seen.outcome) == (200, "claimed")


async def test_a_cookie_header_in_several_pieces_is_read_whole(process: Process, code: Make, redis: Redis) -> None:
    one, other, phone = await code(5), await code(5), process.phone()
    await phone.visit(one.slug)
    await phone.visit(other.slug)
    pieces = [("cookie", f"{cookie.name}={cookie.value}") for cookie in phone.client.cookies.jar]
    taken = await one.places(redis)
    for slug in (one.slug, other.slug):
        answer = await process.phone().client.get(f"/{slug}", headers=pieces)
        assert answer.headers["x-huoma-outcome"] == "returned"
    assert await one.places(redis) == taken
