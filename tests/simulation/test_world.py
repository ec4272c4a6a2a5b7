import pytest

from scheduler.protocol.records import ArenaRef, Result
from tests.simulation.world_bench import WorldBench


@pytest.fixture
def bench() -> WorldBench:
    bench = WorldBench()
    bench.world.start()
    bench.run(2.0)
    return bench


def rest(bench: WorldBench) -> None:
    bench.world.traffic.stop()
    for _ in range(200):
        if bench.world.is_quiet:
            break
        bench.run(0.1)
    assert bench.world.is_quiet
    bench.world.settle()
    bench.world.check_rest()


def test_jobs_get_done_and_the_world_comes_to_rest(bench: WorldBench) -> None:
    rest(bench)
    assert bench.world.outcomes.by_end()["completed"] > 20


def test_a_killed_gateway_takes_its_jobs_and_comes_back(bench: WorldBench) -> None:
    before = bench.world.gateways[1]
    bench.world.kill_gateway(1)
    bench.world.kill_gateway(1)  # dead already
    assert not before.alive
    bench.run(1.0)
    after = bench.world.gateways[1]
    assert after is not before
    assert after.alive
    for node in bench.world.nodes:
        bench.world.connect(node)
    rest(bench)


def test_a_killed_dispatcher_is_replaced_on_the_same_tables(bench: WorldBench) -> None:
    before = bench.world.host
    bench.world.kill_dispatcher()
    bench.world.kill_dispatcher()  # dead already
    assert not before.alive
    bench.run(4.0)
    after = bench.world.host
    assert after is not before
    assert after.alive
    assert not after.audit.recovering
    rest(bench)


def test_both_may_die_at_once(bench: WorldBench) -> None:
    bench.world.kill_gateway(0)
    bench.world.kill_dispatcher()
    bench.run(4.0)
    rest(bench)


def test_forged_records_reach_the_dispatcher_like_real_ones(bench: WorldBench) -> None:
    before = bench.world.host.core.counts.stale_results_total
    bench.world.send_as(2, Result(1 << 50, 1, 0))
    bench.run(3.0)
    assert bench.world.host.core.counts.stale_results_total > before


def test_a_payload_may_be_lost_only_with_its_keeper(bench: WorldBench) -> None:
    kept = ArenaRef(1, 0, 1, 1 << 40 | 5)
    assert not bench.world.may_be_lost(kept)
    assert not bench.world.request_is_there(kept)
    assert not bench.world.take_result(kept, 1)
    bench.world.kill_gateway(1)
    assert bench.world.may_be_lost(kept)
