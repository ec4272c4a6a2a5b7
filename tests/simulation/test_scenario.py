from random import Random

from scheduler.config import Config
from scheduler.protocol.requirements import REQUIREMENTS_TOTAL
from scheduler.simulation.scenario import CORE, REQUIREMENTS, Scenario


def test_a_seed_draws_one_scenario() -> None:
    assert Scenario.draw(Random(1)) == Scenario.draw(Random(1))
    assert Scenario.draw(Random(1)) != Scenario.draw(Random(2))


def test_scenarios_reach_from_one_node_to_thousands() -> None:
    drawn = [Scenario.draw(Random(seed)) for seed in range(400)]
    nodes = [scenario.nodes for scenario in drawn]
    assert min(nodes) <= 2
    assert max(nodes) >= 1_000
    assert {scenario.gateways for scenario in drawn} == {1, 2, 3, 4, 5}
    for flags in zip(*((s.gateways_die, s.dispatchers_die) for s in drawn), strict=True):
        assert set(flags) == {True, False}
    strategies = {scenario.config.scheduler.load_balancer.strategy for scenario in drawn}
    assert strategies == {"least_connections", "least_utilization"}


def test_requirements_are_ones_that_nodes_can_meet() -> None:
    assert all(0 < requirement < REQUIREMENTS_TOTAL for requirement in REQUIREMENTS)
    core = Config().scheduler.core_services
    assert (core.asr_service_id, core.nmt_service_id, core.tts_service_id) == CORE
