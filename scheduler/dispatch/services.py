"""Services as bits: which service stands at which bit of the node table's sets."""

from collections.abc import Iterable

from scheduler.config import SchedulerSettings
from scheduler.memory.layout import SERVICES_MAX
from scheduler.selection.columns import Texts
from scheduler.selection.services import services_by_requirement


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
            self.mask(sorted(services)) for services in services_by_requirement(settings)
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
