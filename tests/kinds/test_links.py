"""Link codes (短链, 随机短链): sent on at once, by every rule that groups know."""

from collections import Counter
from io import BytesIO

import httpx
import pytest
import sqlalchemy as sa
import zxingcpp
from PIL import Image
from redis.asyncio import Redis

from app.store.database import Database
from app.store.tables import codes, targets
from tests.conftest import Clock
from tests.kinds.conftest import MakeLink, Told
from tests.scanning import Process
from tests.web.api.steps import done, make_code

A, B = "https://a.example/x?y=1", "https://b.example/"
SCHEME = "weixin://dl/business/?t=abcdef"


async def test_a_short_link_sends_on_and_is_never_remembered_by_the_phone(process: Process, link: MakeLink) -> None:
    """Trap 7: never 301 or 308."""
    code = await link(A)
    answer = await process.phone().client.get(f"/{code['slug']}")
    assert (answer.status_code, answer.headers["location"]) == (302, A)
    assert answer.headers["x-huoma-outcome"] == "claimed"
    assert "no-store" in answer.headers["cache-control"]
    assert not answer.content


async def test_whoever_was_sent_to_one_of_several_goes_there_again(
    process: Process, link: MakeLink, told: Told
) -> None:
    code = await link(A, B, strategy="random")
    phones = [process.phone() for _ in range(12)]
    first = [(await phone.client.get(f"/{code['slug']}")).headers["location"] for phone in phones]
    again = [await phone.client.get(f"/{code['slug']}") for phone in phones]
    assert [answer.headers["location"] for answer in again] == first
    assert {answer.headers["x-huoma-outcome"] for answer in again} == {"returned"}
    assert await told.kinds(code) == {"taken": 12, "returned": 12}


async def test_a_place_behind_a_link_is_taken_at_once_and_never_comes_back(
    process: Process, link: MakeLink, clock: Clock, told: Told
) -> None:
    code = await link({"url": A, "member_limit": 3}, B)
    met = [(await process.phone().client.get(f"/{code['slug']}")).headers["location"] for _ in range(3)]
    clock.forward(days=1)
    met += [(await process.phone().client.get(f"/{code['slug']}")).headers["location"] for _ in range(2)]
    assert met == [A, A, A, B, B]
    assert await told.kinds(code) == {"taken": 5}


async def test_links_expire_and_pause_like_groups(
    process: Process, link: MakeLink, api: httpx.AsyncClient, clock: Clock
) -> None:
    code = await link({"url": A, "expires_at": "2026-11-21T11:00:00Z"}, B)
    phone = process.phone()
    assert (await phone.client.get(f"/{code['slug']}")).headers["location"] == A
    clock.forward(hours=1)
    assert (await phone.client.get(f"/{code['slug']}")).headers["location"] == B
    targets = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
    done(await api.patch(f"/targets/{targets[1]['id']}", json={"status": "paused"}))
    assert (await phone.client.get(f"/{code['slug']}")).headers["x-huoma-outcome"] == "full"


@pytest.mark.parametrize("url", [SCHEME, "https://wxaurl.cn/AbCd", "https://wxmpurl.cn/AbCd"])
async def test_a_mini_program_opens_by_a_button_and_counts_as_a_link(
    process: Process, link: MakeLink, told: Told, url: str
) -> None:
    code = await link(url)
    seen = await process.phone().scan(code["slug"])
    assert (seen.status, seen.outcome, seen.image) == (200, "claimed", None)
    assert f'href="{url}"' in seen.text
    assert await told.kinds(code) == {"taken": 1}


async def test_parameters_pass_through_only_when_the_code_says_so(process: Process, link: MakeLink) -> None:
    closed, open_ = await link(A), await link(A, pass_query=True)
    query = "?utm=poster&y=2&x=%0d%0aSet-Cookie:a"
    assert (await process.phone().client.get(f"/{closed['slug']}{query}")).headers["location"] == A
    answer = await process.phone().client.get(f"/{open_['slug']}{query}")
    assert answer.headers["location"] == f"{A}&utm=poster&x=%0d%0aSet-Cookie:a"
    assert [name for name in answer.headers if name == "a"] == []


async def test_a_preview_of_a_link_takes_no_place(process: Process, link: MakeLink, told: Told) -> None:
    code = await link(A)
    answer = await process.phone().client.head(f"/{code['slug']}")
    assert (answer.status_code, answer.headers["x-huoma-outcome"]) == (200, "preview")
    assert await told.kinds(code) == {"preview": 1}


async def test_a_mini_program_client_is_told_where_to_go(process: Process, link: MakeLink) -> None:
    code = await link(A)
    told = (await process.phone().client.get(f"/{code['slug']}", headers={"Accept": "application/json"})).json()
    assert (told["outcome"], told["url"], told["qr_image"]) == ("claimed", A, None)
    again = await process.phone().client.get(
        f"/{code['slug']}", headers={"Accept": "application/json", "X-Huoma-Seat": told["seat"]}
    )
    assert again.json()["outcome"] == "returned"


async def test_weights_are_kept_by_balance_and_by_random(process: Process, link: MakeLink) -> None:
    for strategy, slack in (("balance", 1), ("random", 60)):
        code = await link({"url": A, "weight": 3}, {"url": B, "weight": 1}, strategy=strategy)
        met = Counter([(await process.phone().client.get(f"/{code['slug']}")).headers["location"] for _ in range(400)])
        assert abs(met[A] - 300) <= slack


async def test_a_link_that_was_saved_before_it_was_refused_is_shown_as_a_qr(
    process: Process, link: MakeLink, database: Database, told: Told
) -> None:
    code = await link("https://shop.example/old")
    async with database.writing() as tx:
        saved = "http://WEIXIN.qq.com:80/g/AExample0Exa_-12"
        await tx.execute(sa.update(targets).where(targets.c.code_id == code["id"]).values(payload=saved))
    phone = process.phone()
    seen = await phone.scan(code["slug"])
    assert (seen.status, seen.outcome, seen.headers.get("location")) == (200, "claimed", None)
    (read,) = zxingcpp.read_barcodes(Image.open(BytesIO((await phone.look(seen)).content)))
    assert read.text == "https://weixin.qq.com/g/AExample0Exa_-12"
    assert (await phone.scan(code["slug"])).outcome == "returned"
    said = await phone.client.get(f"/{code['slug']}", headers={"Accept": "application/json"})
    assert (said.json()["url"], said.json()["target"]["kind"]) == (None, "wechat_group")
    assert said.json()["qr_image"]
    assert (await told.kinds(code))["taken"] == 1


async def test_a_fallback_that_was_saved_before_it_was_refused_is_shown_as_a_qr(
    process: Process, api: httpx.AsyncClient, database: Database
) -> None:
    code = await make_code(api, fallback={"url": "https://shop.example/"})
    async with database.writing() as tx:
        saved = {"url": "https://u.wechat.com./kExampleExample-Example"}
        await tx.execute(sa.update(codes).where(codes.c.id == code["id"]).values(fallback=saved))
    phone = process.phone()
    seen = await phone.scan(code["slug"])
    assert (seen.status, seen.outcome, seen.headers.get("location")) == (200, "fallback", None)
    (read,) = zxingcpp.read_barcodes(Image.open(BytesIO((await phone.look(seen)).content)))
    assert read.text == "https://u.wechat.com/kExampleExample-Example"
    shown = done(await api.get(f"/codes/{code['id']}"))["fallback"]
    assert (shown["url"], shown["payload"]) == (None, read.text)


async def test_who_followed_a_link_follows_it_again_without_redis(
    process: Process, link: MakeLink, away_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await link(A)
    phone = process.phone()
    await phone.client.get(f"/{code['slug']}")
    monkeypatch.setattr(process.batcher, "_redis", away_redis)
    monkeypatch.setattr(process.recaller, "_redis", away_redis)
    again = await phone.client.get(f"/{code['slug']}")
    assert (again.status_code, again.headers["location"]) == (302, A)
    assert (await process.phone().client.get(f"/{code['slug']}")).status_code == 503


QQ = (
    "Mozilla/5.0 (Linux; Android 10; V1914A Build/QP1A.190711.020; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/78.0.3904.96 Mobile Safari/537.36 V1_AND_SQ_8.4.8_1492_YYB_D QQ/8.4.8.4810 NetType/4G"
)


async def test_a_link_sends_people_on_and_gives_programs_nothing(process: Process, link: MakeLink) -> None:
    code = await link("https://a.example/")
    met = {
        agent: (await process.phone(agent).scan(code["slug"])).outcome
        for agent in ["WhatsApp/2.23.20.0 A", "kube-probe/1.29", "curl/8.5.0", "", QQ]
    }
    library = await process.phone("okhttp/4.12.0", Accept="application/json").client.get(f"/{code['slug']}")

    assert list(met.values()) == ["preview"] * 4 + ["claimed"]
    assert library.json()["outcome"] == "claimed"
