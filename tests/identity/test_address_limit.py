"""How often an address may be refused."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from scheduler.identity.address_limit import ADDRESSES_MAX, AddressLimit

WINDOW_NS = 1_000


def test_an_address_is_shut_out_until_its_window_ends() -> None:
    limit = AddressLimit(2, WINDOW_NS)
    limit.add("192.0.2.1", 100)
    assert limit.wait_ns("192.0.2.1", 100) == 0
    limit.add("192.0.2.1", 500)
    assert limit.wait_ns("192.0.2.1", 500) == 600
    assert limit.wait_ns("192.0.2.1", 1_099) == 1
    assert limit.wait_ns("192.0.2.1", 1_100) == 0
    assert limit.wait_ns("192.0.2.2", 500) == 0, "others are not meant"


def test_a_new_window_counts_from_none() -> None:
    limit = AddressLimit(2, WINDOW_NS)
    limit.add("192.0.2.1", 0)
    limit.add("192.0.2.1", 1_000)
    assert limit.wait_ns("192.0.2.1", 1_000) == 0
    limit.add("192.0.2.1", 1_001)
    assert limit.wait_ns("192.0.2.1", 1_001) == 999


def test_ipv6_counts_by_the_64_bits_that_a_subscriber_has() -> None:
    limit = AddressLimit(1, WINDOW_NS)
    limit.add("2001:db8:1:2:3::4", 0)
    assert limit.wait_ns("2001:db8:1:2:ffff::1", 0)
    assert not limit.wait_ns("2001:db8:1:3::4", 0)


def test_ipv4_on_an_ipv6_socket_is_not_lumped_together() -> None:
    limit = AddressLimit(1, WINDOW_NS)
    limit.add("::ffff:192.0.2.1", 0)
    assert limit.wait_ns("192.0.2.1", 0), "the same address"
    assert not limit.wait_ns("::ffff:192.0.2.2", 0)


def test_only_so_many_addresses_are_remembered() -> None:
    limit = AddressLimit(1, WINDOW_NS)
    addresses = [str(ipaddress.IPv4Address(number)) for number in range(ADDRESSES_MAX + 1)]
    for address in addresses[:-1]:
        limit.add(address, 0)
    limit.add(addresses[0], 1)  # the first is the latest now
    limit.add(addresses[-1], 1)
    assert len(limit) == ADDRESSES_MAX
    assert limit.wait_ns(addresses[0], 1)
    assert not limit.wait_ns(addresses[1], 1), "the oldest was forgotten"


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2 * WINDOW_NS)), max_size=40),
)
def test_it_is_what_counting_by_hand_comes_to(
    refusals_max: int, refusals: list[tuple[str, int]]
) -> None:
    limit = AddressLimit(refusals_max, WINDOW_NS)
    windows: dict[str, list[int]] = {}
    now_ns = 0
    for address, passed_ns in refusals:
        now_ns += passed_ns
        times = windows.get(address, [])
        if times and now_ns - times[0] >= WINDOW_NS:
            times = []
        windows[address] = [*times, now_ns]
        limit.add(address, now_ns)
        for each, seen in windows.items():
            ends_ns = seen[0] + WINDOW_NS
            shut = len(seen) >= refusals_max and now_ns < ends_ns
            assert limit.wait_ns(each, now_ns) == (ends_ns - now_ns if shut else 0)


@given(st.text(max_size=45))
def test_no_address_is_too_odd(address: str) -> None:
    limit = AddressLimit(1, WINDOW_NS)
    limit.add(address, 0)
    assert limit.wait_ns(address, 0) == WINDOW_NS
