from scheduler.simulation.faults import Faults
from tests.simulation.world_bench import WorldBench


def make(seed: int, **changes: object) -> tuple[WorldBench, Faults]:
    bench = WorldBench(seed, fault_ns=5_000_000, **changes)
    faults = Faults(bench.world, bench.clock, bench.rng)
    bench.world.start()
    bench.run(1.0)
    faults.start()
    return bench, faults


def test_every_kind_of_fault_strikes() -> None:
    bench, _ = make(1, dispatchers_die=False)
    seen = set()
    for _ in range(200):
        bench.run(0.02)
        for node in bench.world.nodes:
            seen |= {"gone"} if node.gateway is None else set()
            seen |= {"hung"} if node.hung else set()
            seen |= {"ill"} if not node.fit else set()
            seen |= {"overloaded"} if node.cpu_percent > 90 else set()
            seen |= {"busy elsewhere"} if node.external_jobs else set()
            seen |= {"without model"} if node.lacks else set()
    assert len(seen) == 6
    counts = bench.world.host.core.counts
    assert counts.stale_results_total > 0
    assert counts.pairings_offered_total > 0


def test_processes_die_only_where_the_scenario_says_so() -> None:
    calm, _ = make(1, gateways_die=False, dispatchers_die=False)
    host, gateways = calm.world.host, list(calm.world.gateways)
    calm.run(4.0)
    assert calm.world.host is host
    assert calm.world.gateways == gateways
    wild, _ = make(1, gateways_die=True, dispatchers_die=True)
    host, gateways = wild.world.host, list(wild.world.gateways)
    wild.run(6.0)
    assert wild.world.host is not host
    assert wild.world.gateways != gateways


def test_faults_end_when_they_are_told_to() -> None:
    bench, faults = make(1, gateways_die=False, dispatchers_die=False)
    bench.run(1.0)
    faults.stop()
    bench.run(4.0)
    bench.world.revive()
    bench.run(1.0)
    assert all(node.fit and not node.hung for node in bench.world.nodes)
