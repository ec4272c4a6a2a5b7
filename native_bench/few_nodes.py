"""What a job costs where there are few nodes, beside the same rivals.

As `end-to-end`, with a tenth of the nodes. The plain scheduler looks at each node in Python for
each job, so that its share of the other figures says first of all how many nodes there are. Here
it has few to look at: what is left of the ratio is the rest of the two programs.

The bias: several sessions share a node, so that programs find several messages at a time on a
node's socket, and write several at once. All else as with `end-to-end`.
"""

from collections.abc import Callable

from msgspec.structs import replace

from native_bench import end_to_end
from native_bench.results import Result


class Settings(end_to_end.Settings, frozen=True, kw_only=True):
    """What is measured; the nodes have slots for all that is on its way."""

    text_bytes: tuple[int, ...] = (256,)
    nodes: int = 100
    sessions: int = 500


def measure(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run all rounds; see `end_to_end.measure`."""
    return replace(end_to_end.measure(settings, tell), name="few-nodes")
