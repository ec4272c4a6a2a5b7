from scheduler.config import SchedulerSettings
from scheduler.memory.layout import SERVICE_WORDS, SERVICES_MAX
from scheduler.protocol.requirements import REQUIREMENTS_TOTAL
from scheduler.selection.services import (
    distinct_classes,
    mask_of,
    services_by_requirement,
    words_of,
)

SETTINGS = SchedulerSettings()


def test_each_requirement_has_the_services_of_its_stages_and_features() -> None:
    services = services_by_requirement(SETTINGS)
    core = SETTINGS.core_services
    assert len(services) == REQUIREMENTS_TOTAL
    assert services[0] == frozenset()
    assert services[0b101] == {core.asr_service_id, core.tts_service_id}


def test_classes_are_the_different_sets() -> None:
    # By default features need no service of their own: what differs are the three stages.
    assert distinct_classes(SETTINGS) == 2**3


def test_a_mask_has_the_bits_of_its_services() -> None:
    names = ["a", "b", "", "c"]
    assert mask_of(["c", "a"], names) == 0b1001
    assert mask_of([], names) == 0


def test_a_service_without_a_bit_has_no_mask() -> None:
    assert mask_of(["a", "d"], ["a", "b"]) is None


def test_words_have_the_lowest_bits_first() -> None:
    words = words_of(1 | 1 << 64 | 1 << (SERVICES_MAX - 1))
    assert words.tolist() == [1, 1, *[0] * (SERVICE_WORDS - 3), 1 << 63]
