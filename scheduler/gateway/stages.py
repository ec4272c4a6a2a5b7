"""How long each stage of a job takes, as histograms in shared memory."""

from scheduler.memory.histogram import Histogram
from scheduler.memory.layout import GATEWAY_LATENCY
from scheduler.memory.views import Views


class Stages:
    """What records a duration in ns, by the names of layout.GATEWAY_LATENCY."""

    __slots__ = (
        *("receive", "submit", "queue", "assign", "first_partial", "node", "deliver", "order"),
        *("dispatch", "end_to_end"),
    )

    def __init__(self, views: Views, gateway: int) -> None:
        def histogram(name: str) -> Histogram:
            return Histogram(views, GATEWAY_LATENCY.name, f"{name}_ns", gateway)

        self.receive = histogram("receive")
        self.submit = histogram("submit")
        self.queue = histogram("queue")
        self.assign = histogram("assign")
        self.first_partial = histogram("first_partial")
        self.node = histogram("node")
        self.deliver = histogram("deliver")
        self.order = histogram("order")
        self.dispatch = histogram("dispatch")
        self.end_to_end = histogram("end_to_end")
