"""What the harness and its driver processes tell each other, as lines of JSON.

A driver gets its Task on the command line and says READY once it is connected. It then takes lines:
a Begin, and STOP to end early. It answers with a Batch every so often; the last one is `done`.
Times are of the machine's monotonic clock, which all processes share.
"""

from msgspec import Struct

from scheduler.stress.scenario import NodeGroup, Scenario

READY = b"ready\n"
STOP = b"stop"

CUT_OFF = "CUT_OFF"
"""The connection ended before the reply came."""

LOST = "LOST"
"""No reply came in all the time there was, though the connection lived on."""

UNFINISHED = "UNFINISHED"
"""The run was ended before the reply came."""

TALKER = -1
"""Instead of the number of a kind: said by one of the talkers."""


class Task(Struct, frozen=True):
    """What driver `number` does: its share of the sessions and talkers."""

    url: str
    scenario: Scenario
    number: int


class NodesTask(Struct, frozen=True):
    """The nodes of a group."""

    url: str
    group: NodeGroup
    seed: int


class Begin(Struct, frozen=True):
    """When the planned times begin."""

    begin_ns: int


class Call(Struct, array_like=True):
    """One utterance: when it was due, sent and answered; `code` is "" for a result.

    `accepted`: it was a job. `session` counts the connections of its driver.
    """

    driver: int
    session: int
    index: int
    kind: int
    due_ns: int
    sent_ns: int
    done_ns: int = 0
    code: str = ""
    accepted: bool = True


class Violation(Struct, frozen=True):
    """A broken promise: `what` in a word or two, and the details in a sentence."""

    what: str
    text: str


class Batch(Struct):
    """What happened since the last one. `waiting` and `sessions` are as of now."""

    calls: list[Call] = []
    violations: list[Violation] = []
    troubles: dict[str, int] = {}
    sent: int = 0
    waiting: int = 0
    sessions: int = 0
    done: bool = False
