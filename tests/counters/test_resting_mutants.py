"""Break what lets a code rest and wake on purpose, one small change at a time: the machine must notice every one."""

from types import ModuleType

import pytest

from app.counters import rests, scripts, versions
from tests.counters.resting import RestingMachine
from tests.counters.test_mutants import must_fail, mutant

# (what is broken, the text as it stands, the text instead)
PACK_MUTANTS = [
    ("a code with an open hold rests", "if redis.call('EXISTS', KEYS[3]) == 1 then return {} end", ""),
    ("an attempt leaves no word", "redis.call('HSET', KEYS[1], 'rest', ARGV[1])", ""),
    ("the base is lost", "meta[2], meta[3], meta[4]", "meta[2], meta[2], meta[4]"),
    ("the last re-opening is lost", "meta[2], meta[3], meta[4]", "meta[2], meta[3], meta[3]"),
    ("places are lost", "redis.call('HGETALL', KEYS[2])", "{}"),
    ("what is not counted is packed", "  return {}\nend\nif", "end\nif"),
    ("a mark stays", "redis.call('DEL', KEYS[1])", "redis.call('PING')"),
    ("the word of a rebuild goes", "if not meta[5] then", "if true then"),
]  # fmt: skip
REST_MUTANTS = [
    ("an earlier attempt comes about", "if meta[i] ~= ARGV[i] then", "if i ~= 1 and meta[i] ~= ARGV[i] then"),
    ("an edit is forgotten", "if meta[i] ~= ARGV[i] then", "if i ~= 2 and meta[i] ~= ARGV[i] then"),
    ("a seat given meanwhile is forgotten", "for i = 1, 4 do\n  if", "for i = 1, 4 do\n  if i ~= 3 and"),
    ("a head count is forgotten", "for i = 1, 4 do", "for i = 1, 3 do"),
    ("a code that rests is still counted", "KEYS[1], KEYS[2]", "KEYS[2]"),
    ("counts stay", "KEYS[1], KEYS[2],", "KEYS[1],"),
    ("the bitmap stays", "KEYS[4], KEYS[5]", "KEYS[5]"),
    ("re-openings stay", ", KEYS[5])", ")"),
    ("a code that rests is called awake", "return 1", "return 0"),
]  # fmt: skip
PUBLISH_MUTANTS = [
    ("seats begin anew", "'seats', ARGV[7], 'base'", "'seats', ARGV[5], 'base'"),
    ("the base is the last seat", "base, seq = ARGV[12], ARGV[13]", "base, seq = ARGV[7], ARGV[13]"),
    ("re-openings are counted anew", "base, seq = ARGV[12], ARGV[13]", "base, seq = ARGV[12], ARGV[5]"),
    ("who missed a re-opening is not told", "'floor', seq)", "'floor', '0')"),
    ("places do not come back", "redis.call('HSET', KEYS[2], unpack(", "redis.call('HSET', KEYS[3], unpack("),
    ("only the first come back", "math.min(i + 999, #counts)", "math.min(i + 1, #counts)"),
    ("what was seen does not come back", "if ARGV[15] ~= '' then", "if false then"),
    ("the word of a rebuild stays", "redis.call('HDEL', KEYS[1], 'dropped')", ""),
    ("a rest is laid on what is counted", "local lost = not state[2]", "local lost = not state[2] or ARGV[14] ~= ''"),
]  # fmt: skip
# As in `test_mutants`.
LUCKY = {
    "a code that rests is called awake": 1,
    "a code that rests is still counted": 1,
    "a head count is forgotten": 3,
    "a mark stays": 2,
    "a seat given meanwhile is forgotten": 1,
    "an attempt leaves no word": 1,
    "an earlier attempt comes about": 2,
    "counts stay": 3,
    "only the first come back": 3,
    "places are lost": 3,
    "places do not come back": 3,
    "re-openings are counted anew": 2,
    "re-openings stay": 3,
    "the base is lost": 15,
    "the base is the last seat": 2,
    "the bitmap stays": 7,
    "the last re-opening is lost": 1,
    "the word of a rebuild goes": 2,
    "the word of a rebuild stays": 2,
    "what is not counted is packed": 1,
    "what was seen does not come back": 15,
    "who missed a re-opening is not told": 18,
}
ALL = [
    (place, script, *one)
    for place, script, mutants in (
        (rests, scripts.PACK, PACK_MUTANTS),
        (rests, scripts.REST, REST_MUTANTS),
        (versions, scripts.PUBLISH, PUBLISH_MUTANTS),
    )
    for one in mutants
]


@pytest.mark.parametrize(("place", "script", "name", "old", "new"), ALL, ids=[f"{m[1].name}: {m[2]}" for m in ALL])
def test_the_machine_kills_a_mutant_of_resting(
    resting_machine: type[RestingMachine],
    monkeypatch: pytest.MonkeyPatch,
    place: ModuleType,
    script: scripts.Script,
    name: str,
    old: str,
    new: str,
) -> None:
    assert script.text.count(old) == 1
    monkeypatch.setattr(place, script.name.upper(), mutant(script, old, new))
    must_fail(resting_machine, LUCKY.get(name))
