"""What gateways and the dispatcher say to each other over their pipes.

Each record is a msgspec array-like struct: its integer tag, then its fields in order. A job is
the integer of scheduler/protocol/ids.py, a node a packed reference, NO_NODE where there is none.

    gateway A (owns the job)          dispatcher            gateway B (holds the node)
        Submit ───────────────────────────►  place, reserve
                                             Assign ───────────────────► job_assign
        Dispatched ◄──────────────────────── (when A is not B)
                                             ◄──────────────────── Result | Failure
        Deliver | Failed ◄──────────────────  check attempt, release

Audio and results never appear here, only where they lie (`ArenaRef`), or None where the
gateway that reads the record already holds the bytes.
"""

from msgspec import Struct

from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.status import Status


class ArenaRef(Struct, array_like=True, frozen=True):
    """Bytes in a gateway's payload arena.

    `arena` is the gateway's index, `offset` and `size` are bytes, `block` is the number of the
    allocation: the reader compares it with the block's header before and after copying.
    """

    arena: int
    offset: int
    size: int
    block: int


# --- gateway to dispatcher ------------------------------------------------------------------


class Submit(Struct, array_like=True, tag=1):
    """A new job. `paired` is the only node allowed, `avoid` one to pass over if others are free.

    While it waits it belongs to a `flow`, a number of its tenant or session, which has a weight of
    1 or more and a priority, the greater the sooner.
    """

    job: int
    requirement: int
    paired: int = NO_NODE
    avoid: int = NO_NODE
    payload: ArenaRef | None = None
    flow: int = 0
    weight: int = 1
    priority: int = 0


class Result(Struct, array_like=True, tag=2):
    """A node finished an attempt with success; its gateway read that at `received_ns`."""

    job: int
    attempt: int
    node: int
    payload: ArenaRef | None = None
    received_ns: int = 0


class Failure(Struct, array_like=True, tag=3):
    """A node failed an attempt. `service` is the one it lacks, "" where it named none.

    `version` is that of the service, "" where none was named, at most VERSION_BYTES_MAX bytes.
    `error` is the node's own error object as JSON, at most ERROR_BYTES_MAX bytes. `reason` is why
    it lacks the service, one of protocol.missing.MISSING_REASONS. `by_node` is false where the
    server itself is to blame.
    """

    job: int
    attempt: int
    node: int
    code: str
    service: str
    error: bytes
    reason: str = ""
    version: str = ""
    by_node: bool = True


class CancelJob(Struct, array_like=True, tag=4):
    """The owner gave the job up: its session closed or asked for it."""

    job: int
    reason: str


class Partial(Struct, array_like=True, tag=5):
    """Recognised text on its way from the node's gateway to the owner's, JSON in `message`."""

    job: int
    node: int
    message: bytes


class RunningAttempt(Struct, array_like=True, frozen=True):
    """An attempt that a node is working on, as its gateway knows it."""

    job: int
    attempt: int


class RegisterNode(Struct, array_like=True, tag=6):
    """A node asks to join, or is announced again to a new dispatcher.

    `conn` is the gateway's own number for the socket; the answer carries it back. Memory figures
    are GB; `gpu_memory_gb` is the sum over `gpus` GPUs.

    With `announced` a new dispatcher is told of a member: `status` is what it had, and `running`
    are attempts that a dispatcher gave it. Without, `running` is what the node says of itself,
    which may be a lie.
    """

    conn: int
    node_id: str
    name: str
    capacity: int
    accept_public: bool
    installed: list[str]
    ready: list[str]
    cpu_cores: float
    memory_gb: float
    gpus: int
    gpu_memory_gb: float
    status: int = Status.REGISTERING
    running: list[RunningAttempt] = []
    announced: bool = False


class NodeServices(Struct, array_like=True, tag=7):
    """The node's installed or ready services changed; both lists are whole."""

    node: int
    installed: list[str]
    ready: list[str]


class NodeHealth(Struct, array_like=True, tag=8):
    """The node's heartbeats crossed a threshold: it is fit for jobs now, or no longer."""

    node: int
    healthy: bool
    reason: str


class NodeGone(Struct, array_like=True, tag=9):
    """The node's socket closed."""

    node: int
    reason: str


class OfferPairing(Struct, array_like=True, tag=10):
    """A node wants a pairing code; `code` was drawn by its gateway."""

    node: int
    code: str


class ClaimPairing(Struct, array_like=True, tag=11):
    """A session presents a pairing code; `address` is where its wrong guesses are counted."""

    conn: int
    code: str
    address: str


class Announce(Struct, array_like=True, tag=12):
    """An unfinished job, told again to a new dispatcher. `attempt` 0: never dispatched."""

    job: int
    requirement: int
    paired: int
    avoid: int
    payload: ArenaRef | None
    attempt: int
    node: int
    flow: int = 0
    weight: int = 1
    priority: int = 0


class AnnounceDone(Struct, array_like=True, tag=13):
    """The gateway has told this dispatcher everything it holds."""


class DrainNode(Struct, array_like=True, tag=14):
    """An operator's command: give the node no more jobs, or (`on` false) give it jobs again."""

    node: int
    on: bool
    reason: str


class AttemptLost(Struct, array_like=True, tag=15):
    """Answer to AuditNode: the node doesn't work on that attempt, and nothing came of it."""

    job: int
    attempt: int
    node: int


ToDispatcher = (
    Submit
    | Result
    | Failure
    | CancelJob
    | Partial
    | RegisterNode
    | NodeServices
    | NodeHealth
    | NodeGone
    | OfferPairing
    | ClaimPairing
    | Announce
    | AnnounceDone
    | DrainNode
    | AttemptLost
)

# --- dispatcher to gateway ------------------------------------------------------------------


class Assign(Struct, array_like=True, tag=1):
    """Send this job to this node of yours; a slot is reserved for it.

    The dispatcher took the job in at `submitted_ns` and reserved the slot at `reserved_ns`.
    """

    job: int
    attempt: int
    node: int
    payload: ArenaRef | None
    submitted_ns: int = 0
    reserved_ns: int = 0


class Dispatched(Struct, array_like=True, tag=2):
    """Your job went to a node of another gateway; times as in Assign."""

    job: int
    attempt: int
    node: int
    submitted_ns: int = 0
    reserved_ns: int = 0


class Deliver(Struct, array_like=True, tag=3):
    """Your job succeeded; `node`'s result lies at `payload`, or None: you hold it yourself."""

    job: int
    attempt: int
    node: int
    payload: ArenaRef | None
    received_ns: int = 0


class Failed(Struct, array_like=True, tag=4):
    """Your job failed for good. `error` is the node's own error as JSON, b"" where none."""

    job: int
    code: str
    message: str
    retry_after_ms: int
    exclusions: dict[str, int]
    error: bytes


class CancelAttempt(Struct, array_like=True, tag=5):
    """Tell the node to stop: nobody waits for this attempt any more."""

    job: int
    attempt: int
    node: int
    reason: str


class Discard(Struct, array_like=True, tag=6):
    """The result you hold of this node's attempt counts no more; free its bytes."""

    job: int
    attempt: int
    node: int


class PartialText(Struct, array_like=True, tag=7):
    """Recognised text for your job, from its present node; JSON in `message`."""

    job: int
    message: bytes


class NodeAccepted(Struct, array_like=True, tag=8):
    """The node on socket `conn` has a row in the table.

    Of the attempts that it says it works on it may go on with those `granted`, and no others.
    """

    conn: int
    node: int
    granted: list[RunningAttempt] = []


class NodeRefused(Struct, array_like=True, tag=9):
    """The node on socket `conn` may not join."""

    conn: int
    code: str
    message: str


class NodeStatusChanged(Struct, array_like=True, tag=10):
    """The node's status changed; tell it."""

    node: int
    status: int
    reason: str


class PairingOffered(Struct, array_like=True, tag=11):
    """Answer to OfferPairing; `accepted` false: the code is taken, draw another."""

    node: int
    code: str
    accepted: bool


class PairingAnswer(Struct, array_like=True, tag=12):
    """Answer to ClaimPairing; `code` "" means paired with `node`, else the refusal's code."""

    conn: int
    node: int
    node_id: str
    code: str


class DrainRequested(Struct, array_like=True, tag=13):
    """An operator's command for a node of yours: pass it on as `node_control`."""

    node: int
    command: str
    reason: str


class AuditNode(Struct, array_like=True, tag=14):
    """These attempts should run on this node of yours, and no others.

    Answer AttemptLost for each that doesn't, and end those that aren't listed.
    """

    node: int
    attempts: list[RunningAttempt]


class PairingClaimed(Struct, array_like=True, tag=15):
    """A session has paired with this code of a node of yours: it is good no more."""

    node: int
    code: str


ToGateway = (
    Assign
    | Dispatched
    | Deliver
    | Failed
    | CancelAttempt
    | Discard
    | PartialText
    | NodeAccepted
    | NodeRefused
    | NodeStatusChanged
    | PairingOffered
    | PairingAnswer
    | DrainRequested
    | AuditNode
    | PairingClaimed
)

TIMED_OUT = "timeout"
"""Reason of a CancelAttempt that the node hears of only with scheduler.job_timeout.send_cancel."""

SUPERSEDED = "superseded"
"""Reason of a CancelAttempt for an attempt that a node must not go on with."""

ERROR_BYTES_MAX = 4096
"""Bound on what a node's own error may carry through the dispatcher."""

VERSION_BYTES_MAX = 64
"""Bound on what is told apart of the version of a service, as of names elsewhere."""

PARTIAL_BYTES_MAX = 16_384
"""Bound on the text of one partial result."""
