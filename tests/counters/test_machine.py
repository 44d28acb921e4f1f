import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.counters.machine import Machine
from tests.counters.resting import RestingMachine


def test_lua_and_its_specification_tell_the_same_story(machine: type[Machine]) -> None:
    live(machine)


@pytest.mark.parametrize("where", ["cluster"], indirect=True)
def test_the_story_is_the_same_on_a_cluster(machine: type[Machine], resting_machine: type[RestingMachine]) -> None:
    live(machine, lives=15)
    live(resting_machine, lives=10)


def test_a_code_that_rests_now_and_then_lives_the_same_life(resting_machine: type[RestingMachine]) -> None:
    live(resting_machine)


def live(machine: type[Machine], *, lives: int = 60) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=lives, stateful_step_count=30, suppress_health_check=list(HealthCheck)),
    )
