from scheduler.simulation.clock import Clock


def test_calls_are_made_in_the_order_in_which_they_fall_due() -> None:
    clock = Clock()
    made: list[tuple[int, int]] = []
    start_ns = clock.now_ns
    for delay_ns in (30, 10, 20, 10):
        clock.after(delay_ns, lambda delay: made.append((delay, clock.now_ns)), delay_ns)
    for _ in range(4):
        clock.step()
    assert made == [(delay, start_ns + delay) for delay in (10, 10, 20, 30)]
    assert clock.calls_total == 4


def test_equal_times_keep_the_order_of_asking() -> None:
    clock = Clock()
    made: list[str] = []
    for name in "abc":
        clock.after(5, made.append, name)
    for _ in range(3):
        clock.step()
    assert made == ["a", "b", "c"]


def test_a_call_may_ask_for_another() -> None:
    clock = Clock()
    made: list[int] = []

    def again() -> None:
        made.append(clock.now_ns)
        clock.after(7, again)

    clock.after(0, again)
    for _ in range(3):
        clock.step()
    assert [later - made[0] for later in made] == [0, 7, 14]
