from tests.scanning import Make, Process


async def test_a_process_is_alive_and_ready(process: Process) -> None:
    client = process.phone().client
    assert (await client.get("/healthz")).json() == "ok"
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    told = ready.json()
    assert (told["redis"], told["postgresql"], sorted(told["behind"])) == (
        "up", "up", ["entries", "seconds", "unreadable"],
    )  # fmt: skip


async def test_metrics_count_scans_by_outcome(process: Process, code: Make) -> None:
    made = await code(1)
    before = _scans(await _metrics(process))
    await process.phone().scan(made.slug)
    assert _scans(await _metrics(process)) == before + 1


async def test_crawlers_are_kept_out_and_browsers_ask_for_an_icon_once(process: Process) -> None:
    client = process.phone().client
    assert "Disallow: /" in (await client.get("/robots.txt")).text
    icon = await client.get("/favicon.ico")
    assert (icon.status_code, "immutable" in icon.headers["cache-control"]) == (204, True)


async def _metrics(process: Process) -> str:
    return (await process.phone().client.get("/metrics")).text


def _scans(metrics: str) -> float:
    rows = [row for row in metrics.splitlines() if row.startswith('huoma_scans_total{outcome="claimed"}')]
    return float(rows[0].split()[1]) if rows else 0.0
