"""Services as bits: which service stands at which bit, and requirements as sets of bits."""

from collections.abc import Iterable

import numpy as np

from scheduler.config import SchedulerSettings
from scheduler.dispatch.tables import Texts, Words
from scheduler.memory.layout import SERVICE_WORDS, SERVICES_MAX
from scheduler.protocol.requirements import (
    FEATURES,
    REQUIREMENTS_TOTAL,
    STAGES,
    required_services,
)

_WORD_MASK = (1 << 64) - 1


class ServiceIndex:
    """Gives each service id a bit. Configured services get theirs first.

    There are SERVICES_MAX bits. A service that nodes bring beyond that, or whose id is too long
    for the table, is not tracked: no job can ask for it, since everything jobs can ask for is
    configured.
    """

    def __init__(self, settings: SchedulerSettings, names: Texts) -> None:
        """`names` has shape (SERVICES_MAX,); names already there keep their bits."""
        self._names = names
        self._bits: dict[str, int] = {
            name.decode(): bit for bit, name in enumerate(names.tolist()) if name
        }
        self.masks: list[int] = [
            self.mask(sorted(services)) for services in _services_by_requirement(settings)
        ]
        """Service mask of each requirement."""

    def mask(self, services: Iterable[str]) -> int:
        """Return the bits of `services`, giving new ones a bit while there are any."""
        mask = 0
        for service in services:
            bit = self._bits.get(service)
            if bit is None:
                bit = len(self._bits)
                if bit == SERVICES_MAX or not self._is_kept_whole(service):
                    continue
                self._bits[service] = bit
                self._names[bit] = service.encode()
            mask |= 1 << bit
        return mask

    def _is_kept_whole(self, service: str) -> bool:
        # Cut ids would become equal, or end in half a character, for the next dispatcher.
        name = service.encode()
        return len(name) <= self._names.dtype.itemsize and not name.endswith(b"\0")

    def known(self, service: str) -> int:
        """Return the bit mask of one service, 0 where it has no bit."""
        bit = self._bits.get(service)
        return 0 if bit is None else 1 << bit


def distinct_classes(settings: SchedulerSettings) -> int:
    """Return how many different sets of services jobs can ask for."""
    return len(set(_services_by_requirement(settings)))


def _services_by_requirement(settings: SchedulerSettings) -> list[frozenset[str]]:
    stages = {stage: getattr(settings.core_services, f"{stage}_service_id") for stage in STAGES}
    features = {feature: getattr(settings.feature_services, feature) for feature in FEATURES}
    return [required_services(r, stages, features) for r in range(REQUIREMENTS_TOTAL)]


def words_of(mask: int) -> Words:
    """Return a service mask as uint64 words, shape (SERVICE_WORDS,), lowest bits first."""
    return np.array([mask >> (64 * word) & _WORD_MASK for word in range(SERVICE_WORDS)], np.uint64)
