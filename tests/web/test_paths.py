"""Addresses as hands and messengers spoil them, and what is asked for at the root of the domain."""

from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.counters import sieve
from app.domain.code import SERVED_PATHS, Slug
from app.domain.workspace import Workspace
from app.services.sifting import SieveMaker
from app.settings import Settings
from app.store.database import Database
from app.store.tables import codes, slugs
from app.web.paths import PAGE, mend_path
from tests.kinds.conftest import group
from tests.scanning import Make, Process
from tests.web.api.steps import done, make_code

SPOILT = [
    "{}。", "{}，", "{}）", "{}.", "{},", "{})", "{}！", "{}；", "{}:", "{}：", "“{}”", "‘{}’", "《{}》", "{} ",
    "{}\u3000", "{}\u200b", "\u200b{}", "{}\ufeff", "{}\u2060。", "{}。请扫码进群", "{}…", "{}？from=wx", "{}>", "{}」",
    "{}'", '{}"', "{}。Scan me", "{}，用WeChat扫", "{}（A店）", "{}(A店)", "{}👍OK", "{}用WeChat扫", "{}, 用WeChat扫",
    "{}%20", "{}%E3%80%82", "%20{}%0A", "{}//", "//{}", "{}&from=timeline", "{}.html", "{}.htm", "*{}*", "**{}**",
    "`{}`", "{}<br>", "{}&nbsp;", "{}[1]", "{}／", "{}。/。Scan",
]  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT, ids=ascii)
async def test_a_spoilt_address_finds_its_code(process: Process, code: Make, spoilt: str) -> None:
    made = await code(5)
    phone = process.phone()
    seen = await phone.scan(quote(spoilt.format(made.slug)))
    assert (seen.outcome, seen.image and seen.image.split("/")[1]) == ("claimed", made.slug)
    assert (await phone.look(seen)).headers["x-huoma-outcome"] == "claimed"


async def test_other_capitals_and_full_width_letters_find_the_code(
    process: Process, another_process: Process, api: httpx.AsyncClient, workspace: Workspace
) -> None:
    for slug in (f"harvest{workspace.id}", f"Spring{workspace.id}"):
        code = await group(api, 50, slug=slug)
        wide = "".join(chr(ord(one) + 0xFEE0) for one in slug)
        for typed in (slug, slug.upper(), slug.lower(), slug.title(), wide.upper(), f"{slug.upper()}。", f"_{slug}_"):
            for one in (process, another_process):
                phone = one.phone()
                seen = await phone.scan(quote(typed))
                assert (typed, seen.outcome, seen.target) == (typed, "claimed", code["targets"][0]["id"])
                assert (await phone.look(seen)).headers["x-huoma-outcome"] == "claimed"


async def test_menus_and_pictures_are_found_so_too(process: Process, api: httpx.AsyncClient) -> None:
    there = await group(api, 9)
    menu = await make_code(api, kind="menu")
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "上海", "code_id": there["id"]}]}))
    phone = process.phone()
    for typed in (f"{menu['slug'].upper()}/1", f"{menu['slug']}/1。", f"{menu['slug']}。/1", f"{menu['slug']}/1/"):
        seen = await phone.scan(quote(typed))
        assert seen.outcome in ("claimed", "returned"), typed
        assert seen.image
        spoilt = seen.image.replace(there["slug"], there["slug"].upper() + "%E3%80%82")
        assert (await phone.client.get(spoilt)).headers["x-huoma-outcome"] in ("claimed", "returned")


async def test_a_pair_that_differs_in_case_only_stays_two_codes(
    process: Process, api: httpx.AsyncClient, database: Database, redis: Redis, workspace: Workspace
) -> None:
    """Such pairs were made before slugs were unique without regard to case."""
    old, new = await group(api, 9, slug=f"pair{workspace.id}"), await group(api, 9)
    twin = f"PAIR{workspace.id}"
    async with database.writing() as tx:
        await tx.execute(sa.update(slugs).where(slugs.c.slug == new["slug"]).values(slug=twin, twin=True))
        await tx.execute(sa.update(codes).where(codes.c.id == new["id"]).values(slug=twin))
    await sieve.put(redis, [Slug(twin)])
    met = [(await process.phone().scan(slug)).target for slug in (old["slug"], twin, f"Pair{workspace.id}")]
    assert met == [one["targets"][0]["id"] for one in (old, new, old)]


async def test_a_sieve_that_is_made_anew_lets_every_spelling_pass(
    process: Process, api: httpx.AsyncClient, database: Database, redis: Redis, workspace: Workspace
) -> None:
    code = await group(api, 9, slug=f"Again{workspace.id}")
    await sieve.forget(redis)
    assert await SieveMaker(database, redis).make()
    assert (await process.phone().scan(code["slug"].upper())).outcome == "claimed"


async def test_what_an_older_process_put_into_the_sieve_is_found_as_it_is_printed(
    process: Process, api: httpx.AsyncClient, database: Database, redis: Redis, workspace: Workspace
) -> None:
    await SieveMaker(database, redis).make()
    code = await group(api, 9)
    slug = f"Older{workspace.id}"
    async with database.writing() as tx:
        await tx.execute(sa.update(slugs).where(slugs.c.slug == code["slug"]).values(slug=slug))
    await sieve.put(redis, [Slug(slug)])
    assert (await process.phone().scan(slug)).outcome == "claimed"


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/wp-login.php",
        "/a/b",
        "/。",
        "/短码",
        "/a b",
        "/" + "a" * 300,
        "/.env",
        "/a.txt",
        "/a.php",
        "/%E7%9F%AD",
        "/index.htm",
        "/a b c",
        "/a,b",
        "/%",
        "/%2e%2e/a",
    ],
)
def test_what_is_no_spoilt_slug_is_left_alone(path: str) -> None:
    assert mend_path(path) is None


@given(st.text(max_size=60))
def test_no_path_breaks_the_reading_of_it(text: str) -> None:
    asked = mend_path("/" + text)
    assert asked is None or PAGE.fullmatch(f"/{asked.slug}")


async def test_the_root_says_what_runs_here(process: Process) -> None:
    for agent in ("curl/8.5.0", "Mozilla/5.0 (iPhone) MicroMessenger/8.0"):
        answer = await process.phone(agent).client.get("/")
        assert (answer.status_code, answer.headers["x-huoma-outcome"]) == (200, "home")
        assert "活码" in answer.text
        assert '<a href="/docs">' in answer.text


async def test_a_code_whose_slug_was_reserved_later_goes_on_working(
    process: Process, api: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    code = await group(api, 9)
    async with database.writing() as tx:
        await tx.execute(sa.update(slugs).where(slugs.c.slug == code["slug"]).values(slug="invite"))
    await sieve.put(redis, [Slug("invite")])
    try:
        assert (await process.phone().scan("invite")).outcome == "claimed"
    finally:
        async with database.writing() as tx:
            await tx.execute(sa.update(slugs).where(slugs.c.slug == "invite").values(slug=code["slug"]))
    assert "invite" not in SERVED_PATHS


async def test_texts_for_wechat_stand_at_the_root(process: Process) -> None:
    said = "MP_verify_AbCd1234.txt=AbCd1234, WW_verify_x9.txt=x9"
    process.app._files = Settings.read({"HUOMA_VERIFICATION_FILES": said}).files()
    client = process.phone("Mozilla/4.0").client
    answer = await client.get("/MP_verify_AbCd1234.txt")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "AbCd1234", "text/plain")
    assert (await client.get("/WW_verify_x9.txt")).text == "x9"
    assert (await client.get("/MP_verify_other.txt")).status_code == 404


@pytest.mark.parametrize(
    "text", ["MP_verify_a.txt", "robots.txt=a", "MP_verify_../a.txt=a", "MP_verify_a.txt=<b>", "x=1"]
)
def test_no_other_text_may_stand_at_the_root(text: str) -> None:
    with pytest.raises(ValueError, match="HUOMA_VERIFICATION_FILES"):
        Settings.read({"HUOMA_VERIFICATION_FILES": text})
