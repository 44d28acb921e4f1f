"""What may stand in which code, the same group twice, and targets that come back."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.store.database import Database
from app.store.tables import targets
from tests.web.api.steps import done, make_account, make_code, make_target, payload, refused

PERSONAL = "https://u.wechat.com/M56zaWR7PAmpBFXlNPHcSke"
CONTACT = "https://work.weixin.qq.com/ct/wcdeff4adfa36d0840164709ab7f3f386d0c"
ACQUISITION = "https://work.weixin.qq.com/ca/cawcde36559314e23a"
WECOM_GROUP = "https://work.weixin.qq.com/gm/647b5aa666347428c3dd46c036bb3a62"
GROUP = "https://weixin.qq.com/g/AExample0Exa_-12"


async def targets_of(api: httpx.AsyncClient, code: dict[str, Any]) -> list[dict[str, Any]]:
    found = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("kind", "qr", "fits"),
    [
        ("group", GROUP, True),
        ("group", WECOM_GROUP, True),
        ("group", PERSONAL, False),
        ("group", CONTACT, False),
        ("group", ACQUISITION, False),
        ("staff", PERSONAL, True),
        ("staff", CONTACT, True),
        ("staff", ACQUISITION, True),
        ("staff", GROUP, False),
        ("staff", WECOM_GROUP, False),
    ],
)
async def test_a_code_holds_qrs_of_its_kind_unless_the_caller_says_otherwise(
    api: httpx.AsyncClient, kind: str, qr: str, *, fits: bool
) -> None:
    code = await make_code(api, kind=kind)
    url = f"/codes/{code['id']}/targets"
    if not fits:
        detail = refused(await api.post(url, json={"payload": qr}), 422, "other_kind", "payload")["detail"]
        assert "allow" in detail
        rows = [{"payload": GROUP if kind == "group" else PERSONAL}, {"payload": qr}]
        problem = refused(await api.post(f"{url}/batch", json={"targets": rows}), 422, "batch_refused")
        assert [(one["where"], one["code"]) for one in problem["errors"]] == [("targets.1.payload", "other_kind")]
        assert await targets_of(api, code) == []
    made = done(await api.post(url, json={"payload": qr} | ({} if fits else {"allow": ["other_kind"]})), 201)
    # What is there stays what it is, however it came.
    done(await api.patch(f"/targets/{made['id']}", json={"name": "anders"}))


async def test_a_picture_of_a_person_is_refused_in_a_group_code(api: httpx.AsyncClient, samples: Path) -> None:
    code = await make_code(api)
    url, image = f"/codes/{code['id']}/targets", {"image": (samples / "personal.jpg").read_bytes()}
    refused(await api.post(url, files=image), 422, "other_kind", "image")
    refused(await api.post(url, files=image, data={"allow": "everything"}), 422, "invalid", "allow.0")
    made = done(await api.post(url, files=image, data={"allow": "same_group, other_kind"}), 201)
    assert made["kind"] == "wechat_personal"


@pytest.mark.parametrize(
    ("code", "qr", "fits"),
    [
        ("group", GROUP, "wechat"),
        ("group", WECOM_GROUP, "wecom"),
        ("staff", PERSONAL, "wechat"),
        ("staff", CONTACT, "wecom"),
        ("staff", ACQUISITION, "wecom"),
    ],
)
async def test_an_account_carries_qrs_of_its_own_kind(api: httpx.AsyncClient, code: str, qr: str, fits: str) -> None:
    wrong = "wecom" if fits == "wechat" else "wechat"
    right_id = (await make_account(api, kind=fits))["id"]
    wrong_id = (await make_account(api, kind=wrong))["id"]
    live = await make_code(api, kind=code)
    url = f"/codes/{live['id']}/targets"
    row = {"payload": qr, "account_id": wrong_id}
    refused(await api.post(url, json=row), 422, "other_kind", "account_id")
    problem = refused(await api.post(f"{url}/batch", json={"targets": [row]}), 422, "batch_refused")
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [("targets.0.account_id", "other_kind")]
    made = done(await api.post(url, json={"payload": qr, "account_id": right_id}), 201)
    change = f"/targets/{made['id']}"
    refused(await api.patch(change, json={"account_id": wrong_id}), 422, "other_kind", "account_id")
    assert done(await api.get(change))["account_id"] == right_id
    refused(await api.patch(change, json={"allow": ["other_kind"]}), 422, "invalid")
    assert (
        done(await api.patch(change, json={"account_id": wrong_id, "allow": ["other_kind"]}))["account_id"] == wrong_id
    )


async def test_a_link_may_have_an_account_of_any_kind(api: httpx.AsyncClient) -> None:
    code = await make_code(api, kind="link")
    for kind in ("wechat", "wecom"):
        account = await make_account(api, kind=kind)
        url = f"https://shop.example/{kind}"
        await make_target(api, code, payload=None, url=url, account_id=account["id"])


async def test_a_qr_stands_once_in_a_workspace_and_the_refusal_names_where(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    first, second = await make_code(api, name="海报"), await make_code(api, name="卡片")
    there = await make_target(api, first, payload=GROUP, name="1群")
    other = await make_target(api, second)
    where = {"code_id": first["id"], "code_name": "海报", "target_id": there["id"], "target_name": "1群"}
    url = f"/codes/{second['id']}/targets"
    for same in (GROUP, "http://weixin.qq.com/g/AExample0Exa_-12", "HTTPS://WeiXin.QQ.com/g/AExample0Exa_-12"):
        for response in (
            await api.post(url, json={"payload": same}),
            await api.put(f"/targets/{other['id']}/qr", json={"payload": same}),
        ):
            problem = refused(response, 409, "qr_in_use")
            assert problem["there"] == where
            assert "海报" in problem["detail"]
            assert "1群" in problem["detail"]
    problem = refused(
        await api.post(f"{url}/batch", json={"targets": [{"payload": payload()}, {"payload": GROUP}]}),
        422,
        "batch_refused",
    )
    assert [(one["where"], one["code"], one["there"]) for one in problem["errors"]] == [
        ("targets.1", "qr_in_use", where)
    ]
    assert [(one["id"], one["revision"]) for one in await targets_of(api, second)] == [(other["id"], 1)]
    # Another workspace neither is in the way nor learns anything.
    theirs = await make_code(stranger_api)
    done(await stranger_api.post(f"/codes/{theirs['id']}/targets", json={"payload": GROUP}), 201)
    done(await api.put(f"/targets/{other['id']}/qr", json={"payload": GROUP, "allow": ["qr_in_use"]}))
    # In the same code it is never fresh, whatever is said.
    refused(await api.post(url, json={"payload": GROUP, "allow": ["qr_in_use"]}), 409, "same_qr")


async def test_a_qr_is_free_again_when_it_was_replaced_removed_or_its_code_closed(api: httpx.AsyncClient) -> None:
    first, second = await make_code(api), await make_code(api)
    qrs = [payload() for _ in range(3)]
    one, two, three = [await make_target(api, first, payload=qr) for qr in qrs]
    done(await api.put(f"/targets/{one['id']}/qr", json={"payload": payload()}))
    await make_target(api, second, payload=qrs[0])
    assert (await api.delete(f"/targets/{two['id']}")).status_code == 204
    await make_target(api, second, payload=qrs[1])
    refused(await api.post(f"/codes/{second['id']}/targets", json={"payload": qrs[2]}), 409, "qr_in_use")
    assert (await api.delete(f"/codes/{first['id']}")).status_code == 204
    await make_target(api, second, payload=three["payload"])


async def test_the_same_account_may_offer_its_qr_in_several_codes(api: httpx.AsyncClient) -> None:
    mine, other = await make_account(api, kind="wechat"), await make_account(api, kind="wechat")
    first, second = await make_code(api, kind="staff"), await make_code(api, kind="staff")
    await make_target(api, first, payload=PERSONAL, account_id=mine["id"])
    url = f"/codes/{second['id']}/targets"
    for row in ({"payload": PERSONAL}, {"payload": PERSONAL, "account_id": other["id"]}):
        refused(await api.post(url, json=row), 409, "qr_in_use")
    # Its cap counts the adds of both together.
    done(await api.post(url, json={"payload": PERSONAL, "account_id": mine["id"]}), 201)


async def test_links_may_lead_to_one_page_from_several_codes(api: httpx.AsyncClient) -> None:
    for _ in range(2):
        await make_target(api, await make_code(api, kind="link"), payload=None, url="https://shop.example/")


async def test_of_two_uploads_of_one_qr_at_the_same_time_one_wins(api: httpx.AsyncClient, database: Database) -> None:
    codes = [await make_code(api) for _ in range(6)]
    qr = payload()
    rows = [{"payload": payload()}, {"payload": qr}]
    sent = [
        asyncio.create_task(api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows[::step]}))
        for code, step in zip(codes, (1, -1) * 3, strict=True)
    ]
    answers = await asyncio.gather(*sent)
    assert sorted(answer.status_code for answer in answers) == [201, *[422] * 5]
    async with database.reading() as connection:
        found = await connection.execute(sa.select(sa.func.count()).where(targets.c.payload == qr))
        assert found.scalar_one() == 1


async def upload(api: httpx.AsyncClient, code: dict[str, Any], path: Path, **fields: str) -> httpx.Response:
    return await api.post(f"/codes/{code['id']}/targets", files={"image": path.read_bytes()}, data=fields)


async def test_a_picture_of_a_group_that_is_there_is_a_fresh_qr_and_no_new_target(
    api: httpx.AsyncClient, samples: Path, database: Database
) -> None:
    code = await make_code(api)
    there = done(await upload(api, code, samples / "group_zh.jpg", name="一群"), 201)
    # The same group with a fresh QR: the same name is printed, whatever it is called here.
    async with database.writing() as tx:
        await tx.execute(sa.update(targets).where(targets.c.id == there["id"]).values(payload=payload()))
    problem = refused(await upload(api, code, samples / "group_zh.jpg", name="二群"), 409, "same_group", "image")
    assert problem["there"]["target_id"] == there["id"]
    assert "PUT" in problem["detail"]
    assert [one["id"] for one in await targets_of(api, code)] == [there["id"]]
    image = {"image": (samples / "group_zh.jpg").read_bytes()}
    renewed = done(await api.put(f"/targets/{there['id']}/qr", files=image))
    assert (renewed["revision"], renewed["name"]) == (2, "一群")
    async with database.writing() as tx:
        await tx.execute(sa.update(targets).where(targets.c.id == there["id"]).values(payload=payload()))
    done(await upload(api, code, samples / "group_zh.jpg", allow="same_group"), 201)


async def test_a_name_that_was_not_read_from_a_picture_makes_no_group_the_same(
    api: httpx.AsyncClient, samples: Path
) -> None:
    code = await make_code(api)
    first = done(await upload(api, await make_code(api), samples / "group_zh.jpg"), 201)
    for _ in range(2):
        await make_target(api, code, name=first["name"])
    done(await upload(api, code, samples / "group_zh.jpg", allow="qr_in_use"), 201)


async def test_a_picture_of_another_group_is_no_fresh_qr(
    api: httpx.AsyncClient, samples: Path, database: Database
) -> None:
    code = await make_code(api)
    one = done(await upload(api, code, samples / "group_zh.jpg"), 201)
    image = {"image": (samples / "group_en.png").read_bytes()}
    problem = refused(await api.put(f"/targets/{one['id']}/qr", files=image), 409, "other_group", "image")
    assert "there" not in problem
    two = done(await upload(api, code, samples / "group_en.png"), 201)
    async with database.writing() as tx:
        await tx.execute(sa.update(targets).where(targets.c.id == two["id"]).values(payload=payload()))
    for target in (one, await make_target(api, code)):
        problem = refused(await api.put(f"/targets/{target['id']}/qr", files=image), 409, "other_group", "image")
        assert problem["there"]["target_id"] == two["id"]
        assert done(await api.get(f"/targets/{target['id']}"))["revision"] == 1
    # The group was renamed: its printed name is the one to compare with from now on.
    renamed = done(await api.put(f"/targets/{one['id']}/qr", files=image, data={"allow": "other_group"}))
    assert (renamed["revision"], renamed["name"]) == (2, two["name"])


async def test_a_removed_target_comes_back_with_all_that_it_counted(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    code = await make_code(api)
    target = await make_target(api, code, members=150, name="1群")
    url = f"/targets/{target['id']}/restore"
    assert done(await api.post(url))["version"] == 1, "one that is there is answered as it is"
    assert (await api.delete(f"/targets/{target['id']}")).status_code == 204
    (removed,) = done(await api.get(f"/codes/{code['id']}/targets?removed=true"))["items"]
    assert (removed["id"], removed["members"]) == (target["id"], 150)
    assert removed["removed_at"] is not None
    refused(await stranger_api.post(url), 404, "not_found")
    refused(await api.post(url, json={"allow": ["qr_in_use"], "name": "n"}), 422, "invalid", "name")
    key = {"Idempotency-Key": "again"}
    back = await api.post(url, headers=key)
    assert done(back)["removed_at"] is None
    assert (back.json()["members"], back.json()["payload"], back.json()["name"]) == (150, target["payload"], "1群")
    assert (await api.post(url, headers=key)).json() == back.json()
    assert done(await api.get(f"/codes/{code['id']}/targets?removed=true"))["items"] == []
    refused(await api.post(f"/targets/{'0' * 16}/restore"), 404, "not_found")


async def test_a_removed_target_stays_away_where_its_qr_its_account_or_its_code_is_gone(api: httpx.AsyncClient) -> None:
    code, other = await make_code(api), await make_code(api, name="卡片")
    account = await make_account(api, kind="wechat")
    target = await make_target(api, code, account_id=account["id"])
    url = f"/targets/{target['id']}/restore"
    await api.delete(f"/targets/{target['id']}")
    moved = await make_target(api, other, payload=target["payload"])
    assert refused(await api.post(url), 409, "qr_in_use")["there"]["target_id"] == moved["id"]
    same = await make_target(api, code, payload=target["payload"], allow=["qr_in_use"])
    refused(await api.post(url, json={"allow": ["qr_in_use"]}), 409, "same_qr")
    await api.delete(f"/targets/{same['id']}")
    assert (await api.delete(f"/accounts/{account['id']}")).status_code == 204
    refused(await api.post(url, json={"allow": ["qr_in_use"]}), 422, "unknown_account", "account_id")
    back = done(await api.post(url, json={"allow": ["qr_in_use"], "account_id": None}))
    assert back["account_id"] is None
    await api.delete(f"/targets/{target['id']}")
    assert (await api.delete(f"/codes/{code['id']}")).status_code == 204
    refused(await api.post(url), 410, "closed")
