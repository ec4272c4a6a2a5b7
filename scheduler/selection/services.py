"""What a requirement asks for: sets of services, and as the bits of the node table."""

from collections.abc import Iterable, Sequence

import numpy as np

from scheduler.config import SchedulerSettings
from scheduler.memory.layout import SERVICE_WORDS
from scheduler.protocol.requirements import (
    FEATURES,
    REQUIREMENTS_TOTAL,
    STAGES,
    required_services,
)
from scheduler.selection.columns import Words

_WORD_MASK = (1 << 64) - 1


def distinct_classes(settings: SchedulerSettings) -> int:
    """Return how many different sets of services jobs can ask for."""
    return len(set(services_by_requirement(settings)))


def services_by_requirement(settings: SchedulerSettings) -> list[frozenset[str]]:
    """Return the services that each requirement needs by these settings."""
    stages = {stage: getattr(settings.core_services, f"{stage}_service_id") for stage in STAGES}
    features = {feature: getattr(settings.feature_services, feature) for feature in FEATURES}
    return [required_services(r, stages, features) for r in range(REQUIREMENTS_TOTAL)]


def mask_of(services: Iterable[str], names: Sequence[str]) -> int | None:
    """Return the bits of `services`, None where one has no bit: then no node ever had it.

    `names` has the service of each bit, "" where it stands for none.
    """
    mask = 0
    for service in services:
        if service not in names:
            return None
        mask |= 1 << names.index(service)
    return mask


def words_of(mask: int) -> Words:
    """Return a service mask as uint64 words, shape (SERVICE_WORDS,), lowest bits first."""
    return np.array([mask >> (64 * word) & _WORD_MASK for word in range(SERVICE_WORDS)], np.uint64)
