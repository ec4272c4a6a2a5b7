"""What all parts of one gateway share."""

import asyncio
import time
from dataclasses import InitVar, dataclass, field

from scheduler.config import Config
from scheduler.errors import PeerError
from scheduler.gateway.code_counts import CodeCounts
from scheduler.gateway.doorkeeper import Doorkeeper
from scheduler.gateway.messages import busy
from scheduler.gateway.stages import Stages
from scheduler.gateway.unfinished import Unfinished
from scheduler.identity.credentials import Credentials
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.layout import FIRST_GATEWAY_ROW
from scheduler.memory.views import Counters, Views


@dataclass(slots=True)
class GatewayContext:
    """Settings, counters and clocks of one gateway process."""

    config: Config
    index: int
    incarnation: int
    epoch: str
    loop: asyncio.AbstractEventLoop
    views: Views
    counters: Counters
    is_short_of_memory: bool = False
    """Over limits.memory_bytes_max: what runs is finished, nothing new is taken."""
    draining: bool = False
    """Set once, at shutdown: no new sessions, nodes or jobs."""
    credentials: InitVar[Credentials] = Credentials()  # noqa: RUF009 - frozen
    doorkeeper: Doorkeeper = field(init=False)
    codes: CodeCounts = field(init=False)
    stages: Stages = field(init=False)
    flight: FlightRecorder = field(init=False)
    unfinished: Unfinished = field(init=False)
    """Utterances that are being spoken."""

    def __post_init__(self, credentials: Credentials) -> None:
        self.doorkeeper = Doorkeeper(self.config.identity, credentials, self.counters)
        self.codes = CodeCounts(self.views, self.index)
        self.stages = Stages(self.views, self.index)
        self.unfinished = Unfinished(self.config.limits.unfinished_bytes_max)
        self.flight = FlightRecorder(self.views, FIRST_GATEWAY_ROW + self.index)

    def check_memory(self) -> None:
        """Raise PeerError SERVER_BUSY where nothing new may be taken."""
        if self.is_short_of_memory:
            raise busy("the server is short of memory (limits.memory_bytes_max)")

    def count_refusal(self, error: PeerError) -> None:
        """Count a message that is answered with `error`."""
        self.counters.add("messages_refused_total")
        self.codes.add_refused(error.code)

    @property
    def now_ns(self) -> int:
        """Monotonic time, the same clock in all processes of the machine."""
        return time.monotonic_ns()

    @property
    def now_ms(self) -> int:
        """Milliseconds since the epoch, for what people and peers read."""
        return time.time_ns() // 1_000_000
