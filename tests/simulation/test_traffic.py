from tests.simulation.world_bench import WorldBench


def test_sessions_submit_until_they_are_stopped() -> None:
    bench = WorldBench()
    bench.world.start()
    bench.run(1.0)
    accepted = bench.world.outcomes.accepted
    assert accepted > 10
    bench.world.traffic.stop()
    bench.run(1.0)
    assert bench.world.outcomes.accepted == accepted


def test_sessions_give_up_pair_and_avoid() -> None:
    bench = WorldBench(arrival_ns=1_000_000)
    bench.world.start()
    seen = set()
    for _ in range(60):
        bench.run(0.1)
        for node in bench.world.nodes:
            node.ask_for_code()
        for gateway in bench.world.gateways:
            for job in gateway.jobs.values():
                seen |= {"paired"} if job.paired >= 0 else set()
                seen |= {"avoid"} if job.avoid >= 0 else set()
    assert seen == {"paired", "avoid"}
    assert bench.world.outcomes.by_end()["cancelled"] > 0


def test_sessions_of_a_dead_gateway_are_replaced() -> None:
    bench = WorldBench()
    bench.world.start()
    bench.run(1.0)
    for index in range(3):
        bench.world.kill_gateway(index)
    accepted = bench.world.outcomes.accepted
    bench.run(2.0)
    assert bench.world.outcomes.accepted > accepted
