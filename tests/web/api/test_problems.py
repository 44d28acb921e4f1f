"""Whatever goes wrong is answered with one kind of document."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

import app
from app.domain import limits
from app.domain.workspace import Workspace
from app.qr.reader import Reader
from app.services.recalling import Recaller
from app.store.database import Database
from app.web.api import ApiContext
from app.web.edge import SECURITY_HEADERS, STATUS
from tests.conftest import PUBLIC_URL, Clock, client
from tests.web.api.steps import done, make_code, refused

JSON = {"Content-Type": "application/json"}


def test_every_refusal_in_the_code_has_a_status_and_every_status_a_refusal() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(app.__file__).parent.rglob("*.py"))
    raised = set(re.findall(r'Refusal\(\s*"([a-z_]+)"', source)) | set(re.findall(r'problem\("([a-z_]+)"', source))
    by_status = {
        "body_too_slow", "malformed_body", "method_not_allowed", "batch_refused", "unreadable_image",
        "several_qr_codes",
    }  # fmt: skip
    assert raised <= set(STATUS)
    assert set(STATUS) <= raised | by_status


async def test_unknown_paths_and_methods_are_problems(api: httpx.AsyncClient) -> None:
    refused(await api.get("/nothing"), 404, "not_found")
    refused(await api.get("/codes/"), 404, "not_found")
    response = await api.put("/codes", json={})
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, POST"
    assert (await api.put("/codes/x")).headers["allow"] == "DELETE, GET, PATCH"
    assert (await api.post("http://api.test/docs")).headers["allow"] == "GET"


@pytest.mark.parametrize(
    "content", [b"{", b"", b"\xff\xfe", b"[" * 100_000, b'{"name": "n"', b"{}{}", b"NaN", b"[]", b'"x"']
)
async def test_a_body_that_is_no_object_is_a_problem(api: httpx.AsyncClient, content: bytes) -> None:
    response = await api.post("/codes", content=content, headers=JSON)
    assert response.status_code in {400, 422}
    refused(response, response.status_code, "malformed_body" if response.status_code == 400 else "invalid")


@pytest.mark.parametrize("media_type", ["text/plain", "", "multipart/form-data; boundary=b"])
async def test_a_body_of_another_type_is_a_problem(api: httpx.AsyncClient, media_type: str) -> None:
    response = await api.post("/codes", content=b'{"name": "n"}', headers={"Content-Type": media_type})
    refused(response, 422, "invalid")


async def test_a_body_is_counted_and_not_believed(api: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    refused(await api.post("/codes", content=endless(), headers=JSON), 413, "body_too_large")
    refused(await api.post("/codes", content=bytes(limits.JSON_BYTES + 1), headers=JSON), 413, "body_too_large")
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    code = await make_code(api)
    refused(await api.post(f"/codes/{code['id']}/targets", content=endless(), headers=JSON), 413, "body_too_large")
    refused(await api.post(f"/codes/{code['id']}/targets", content=endless(), headers=form), 400, "malformed_body")
    padded = b'{"name": "n"}' + b" " * (limits.JSON_BYTES - 13)
    done(await api.post("/codes", content=padded, headers=JSON), 201)


async def test_a_problem_names_fields_but_repeats_no_value(api: httpx.AsyncClient) -> None:
    response = await api.post("/codes", json={"name": 5, "hold_seconds": "hm_secret", "x" * 500: 1})
    problem = refused(response, 422, "invalid")
    assert [one["where"] for one in problem["errors"]][:2] == ["name", "hold_seconds"]
    assert len(problem["errors"][2]["where"]) == 200
    assert "hm_secret" not in response.text


async def test_many_errors_are_cut(api: httpx.AsyncClient) -> None:
    response = await api.post("/codes", json={f"f{n}": n for n in range(500)})
    assert len(refused(response, 422, "invalid")["errors"]) == 100


async def test_every_answer_has_the_safe_headers(api: httpx.AsyncClient, context: ApiContext) -> None:
    async with client(context) as nobody:
        for response in (
            await api.get("/codes"),
            await api.post("/codes", json={"name": "n"}),
            await api.get("/codes/x"),
            await api.get("/nothing"),
            await nobody.get("/codes"),
        ):
            assert {name: response.headers[name] for name in SECURITY_HEADERS} == dict(SECURITY_HEADERS)


async def test_a_store_that_is_away_is_a_503(
    redis: Redis, recaller: Recaller, reader: Reader, clock: Clock, tmp_path: Path
) -> None:
    nowhere = f"postgresql+asyncpg://huoma@/huoma?host={tmp_path}&port=5432"
    database = Database(nowhere, pool_size=1, connect_seconds=1, statement_seconds=1)
    context = ApiContext.of(
        database=database, redis=redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    async with client(context, "hm_whatever") as api:
        response = await api.get("/codes")
        refused(response, 503, "store_away")
        assert int(response.headers["retry-after"]) > 0
    await database.close()


async def test_what_nobody_expected_is_a_500_that_tells_nothing(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    code = await make_code(api)
    async with database.writing() as tx:
        await tx.exec_driver_sql(f"update codes set strategy = 'secret_word' where id = '{code['id']}'")
    try:
        response = await api.get(f"/codes/{code['id']}")
    finally:
        async with database.writing() as tx:
            await tx.exec_driver_sql(f"update codes set strategy = 'fill' where id = '{code['id']}'")
    refused(response, 500, "internal")
    assert "secret_word" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_field_that_is_wrong_is_told_in_words_of_its_own(api: httpx.AsyncClient) -> None:
    shift = {"days": ["mon"], "from": "25:00", "to": "18:00"}
    account = {"name": "n", "kind": "wechat"}
    for path, body, said in (
        ("/accounts", account | {"shifts": [shift]}, "shifts.0.from: Give a time of day such as 09:00."),
        ("/accounts", account | {"shifts": [shift | {"days": []}]}, "shifts.0.days: Give at least 1 item."),
        ("/codes", {"name": "n", "fallback": "https://a.example"}, "fallback: Give a JSON object here."),
        ("/codes", {"name": "n", "fallback": {"code_id": "x"}}, "fallback.code_id: Give an id as the API told it."),
        ("/codes", {"name": "n" * 101}, "name: Give at most 100 characters."),
    ):
        assert refused(await api.post(path, json=body), 422, "invalid")["detail"] == said


async def test_a_plus_that_nobody_escaped_is_still_a_plus(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    answer = await api.get(f"/codes/{code['id']}/explain?at=2026-11-23T10:00:00+08:00")
    assert done(answer)["at"] == "2026-11-23T02:00:00Z"
