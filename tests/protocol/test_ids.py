import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.protocol.ids import (
    GATEWAYS_MAX,
    NO_NODE,
    NODES_MAX,
    gateway_of,
    job_key_base,
    node_ref,
    parse_wire_job_id,
    slot_of,
    wire_job_id,
)

EPOCH = "5F3A9C01"
SEQUENCES_MAX = 1 << 40

gateways = st.integers(0, GATEWAYS_MAX)
incarnations = st.integers(0, 1 << 20)
sequences = st.integers(0, SEQUENCES_MAX - 1)
jobs = st.integers(0, 2**63 - 1)


@given(gateways, incarnations, sequences)
def test_a_job_tells_its_gateway(gateway: int, incarnation: int, sequence: int) -> None:
    job = job_key_base(gateway, incarnation) + sequence
    assert gateway_of(job) == gateway
    assert 0 <= job < 2**63


@given(
    st.tuples(gateways, st.integers(0, 65_535), sequences),
    st.tuples(gateways, st.integers(0, 65_535), sequences),
)
def test_jobs_of_different_origin_never_meet(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    keys = [job_key_base(gateway, incarnation) + n for gateway, incarnation, n in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_incarnations_wrap_inside_their_field() -> None:
    assert job_key_base(3, 65_536) == job_key_base(3, 0)
    assert gateway_of(job_key_base(3, 65_535) + SEQUENCES_MAX - 1) == 3


@pytest.mark.parametrize("gateway", [-1, GATEWAYS_MAX + 1])
def test_gateways_beyond_the_field_are_a_programmer_error(gateway: int) -> None:
    with pytest.raises(AssertionError):
        job_key_base(gateway, 0)


@given(jobs)
def test_wire_job_id_round_trip(job: int) -> None:
    text = wire_job_id(EPOCH, job)
    assert text.startswith("job-")
    assert parse_wire_job_id(EPOCH, text) == job


@given(jobs)
def test_a_job_id_of_another_run_is_refused(job: int) -> None:
    assert parse_wire_job_id("5F3A9C02", wire_job_id(EPOCH, job)) is None


@pytest.mark.parametrize(
    "digits",
    [
        "", "a", "0A", "00", "+A", "-A", "-0", " A", "A ", "A\n", "0x1", "1_0", "G", "\u0661",
        "FFFFFFFFFFFFFFFFF", "1" * 5_000, "1-1",
    ],
)  # fmt: skip
def test_forged_digits_are_refused(digits: str) -> None:
    assert parse_wire_job_id(EPOCH, f"job-{EPOCH}-{digits}") is None


@given(st.text(max_size=40))
def test_any_other_text_is_refused(text: str) -> None:
    assert parse_wire_job_id(EPOCH, text) is None
    parsed = parse_wire_job_id(EPOCH, f"job-{EPOCH}-{text}")
    assert parsed is None or wire_job_id(EPOCH, parsed) == f"job-{EPOCH}-{text}"


@given(st.integers(0, NODES_MAX - 1), st.integers(0, 2**43 - 1))
def test_a_node_reference_tells_its_slot(slot: int, generation: int) -> None:
    ref = node_ref(slot, generation)
    assert slot_of(ref) == slot
    assert ref >> 20 == generation
    assert ref != NO_NODE
    assert ref < 2**63


def test_a_reused_slot_has_another_reference() -> None:
    assert node_ref(7, 1) != node_ref(7, 2)


@pytest.mark.parametrize("slot", [-1, NODES_MAX])
def test_slots_beyond_the_table_are_a_programmer_error(slot: int) -> None:
    with pytest.raises(AssertionError):
        node_ref(slot, 0)
