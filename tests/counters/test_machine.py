from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.counters.machine import Machine
from tests.counters.resting import RestingMachine


def test_lua_and_its_specification_tell_the_same_story(machine: type[Machine]) -> None:
    live(machine)


def test_a_code_that_rests_now_and_then_lives_the_same_life(resting_machine: type[RestingMachine]) -> None:
    live(resting_machine)


def live(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
