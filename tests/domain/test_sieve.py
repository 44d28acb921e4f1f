"""What a sieve of slugs lets pass."""

import pytest

from app.domain.sieve import SIZE_MAX, SIZE_MIN, mesh, overfull, size_for


def bits(slug: str, size: int) -> set[int]:
    start, step = mesh(slug)
    return {(start + bit * step) % size for bit in range(8)}


def test_fewer_than_one_in_a_thousand_passes_even_when_it_is_as_full_as_it_gets() -> None:
    size = SIZE_MIN
    made = [f"made{n}" for n in range(size // 16)]
    assert not overfull(len(made), size)
    assert overfull(len(made) + 1, size)
    held = set().union(*(bits(slug, size) for slug in made))
    assert all(bits(slug, size) <= held for slug in made[:1000])
    passed = sum(bits(f"tried{n}", size) <= held for n in range(50_000))
    assert 0 < passed < 50


@pytest.mark.parametrize(("slugs", "size"), [(0, SIZE_MIN), (1_000_000, 24_000_000), (10**9, SIZE_MAX)])
def test_an_idle_code_costs_three_bytes(slugs: int, size: int) -> None:
    assert size_for(slugs) == size
    assert not overfull(slugs, size)
