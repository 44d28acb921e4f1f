from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.counters.machine import Machine


def test_lua_and_its_specification_tell_the_same_story(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
