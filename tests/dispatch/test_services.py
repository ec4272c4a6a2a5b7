import numpy as np
import pytest

from scheduler.config import Config
from scheduler.dispatch.services import ServiceIndex
from scheduler.memory.layout import SERVICE_WORDS, SERVICES_MAX
from scheduler.selection.services import distinct_classes, words_of
from tests.dispatch.desk import ASR, CORE, NMT, TTS, WHOLE, settings


def index(names: object = None, config: Config | None = None) -> ServiceIndex:
    table = np.zeros(SERVICES_MAX, "S64") if names is None else names
    return ServiceIndex((config or Config()).scheduler, table)  # type: ignore[arg-type]


def names(services: ServiceIndex, mask: int) -> list[str]:
    """Return the services of a mask among those that these tests know."""
    known = [ASR, NMT, TTS, "own-model", "emotion-1"]
    return [name for name in known if services.known(name) & mask]


def test_a_mask_names_the_services_it_was_made_of() -> None:
    services = index()
    assert sorted(names(services, services.mask([TTS, "own-model"]))) == sorted([TTS, "own-model"])


def test_masks_of_requirements_follow_the_stages_and_features() -> None:
    config = settings(scheduler={"feature_services": {"emotion_detection": ["emotion-1", TTS]}})
    services = index(config=config)
    assert sorted(names(services, services.masks[0b001])) == [ASR]
    assert sorted(names(services, services.masks[WHOLE])) == sorted(CORE)
    assert sorted(names(services, services.masks[0b1010])) == sorted([NMT, "emotion-1", TTS])


def test_a_service_that_is_not_required_has_no_part_in_the_mask() -> None:
    config = settings(scheduler={"core_services": {"nmt_service_id": ""}})
    services = index(config=config)
    assert names(services, services.masks[0b010]) == []


def test_classes_are_counted_by_their_services() -> None:
    assert distinct_classes(Config().scheduler) == 8
    two_alike = settings(scheduler={"core_services": {"nmt_service_id": TTS}})
    assert distinct_classes(two_alike.scheduler) == 4


def test_names_in_the_table_keep_their_bits() -> None:
    names = np.zeros(SERVICES_MAX, "S64")
    first = index(names)
    mask = first.mask(["late", "later"])
    assert index(names).mask(["later", "late"]) == mask


def test_services_beyond_the_table_are_not_tracked() -> None:
    services = index()
    services.mask([f"service-{number}" for number in range(SERVICES_MAX)])
    assert services.mask(["one-more"]) == 0
    assert services.known("one-more") == 0
    assert services.mask([ASR]) == services.known(ASR) != 0


@pytest.mark.parametrize("service", ["ä" * 40, "x" * 65, "ends in zero\0"])
def test_a_name_that_the_table_would_cut_is_not_tracked(service: str) -> None:
    names = np.zeros(SERVICES_MAX, "S64")
    services = index(names)
    assert services.mask([service]) == 0
    after = services.mask(["next"])
    assert index(names).mask(["next"]) == after


def test_words_hold_the_lowest_bits_first() -> None:
    words = words_of(1 | 1 << 64 | 1 << 255)
    assert words.shape == (SERVICE_WORDS,)
    assert words.tolist() == [1, 1, 0, 1 << 63]
