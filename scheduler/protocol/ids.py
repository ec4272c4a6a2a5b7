"""Identifiers: what they look like on the wire and how they are packed inside.

Inside, a job is one positive 63-bit integer, so that records between processes stay small and
its owner can be read off without a lookup::

     62        56 55          40 39                                   0
    ┌────────────┬──────────────┬──────────────────────────────────────┐
    │ gateway (7)│incarnation 16│ sequence (40)                        │
    └────────────┴──────────────┴──────────────────────────────────────┘

A node reference is `generation << 20 | slot`: a slot that was freed and given to another node
has another generation, so an old reference never answers for the new one.
"""

GATEWAYS_MAX = 127
NODES_MAX = 1 << 20

_SEQUENCE_BITS = 40
_INCARNATION_BITS = 16
_SLOT_BITS = 20
SLOT_MASK = NODES_MAX - 1

NO_NODE = -1
"""Stands for "no node" wherever a node reference is expected."""


def job_key_base(gateway: int, incarnation: int) -> int:
    """Return the key of sequence 0; a gateway process counts up from it.

    `incarnation` counts the restarts of that gateway, modulo 65,536.
    """
    assert 0 <= gateway <= GATEWAYS_MAX
    return (
        gateway << (_SEQUENCE_BITS + _INCARNATION_BITS)
        | (incarnation % (1 << _INCARNATION_BITS)) << _SEQUENCE_BITS
    )


def gateway_of(job: int) -> int:
    """Return the gateway that accepted `job` and answers for it."""
    return job >> (_SEQUENCE_BITS + _INCARNATION_BITS)


def wire_job_id(epoch: str, job: int) -> str:
    """Return the job's id on the wire.

    `epoch` is random per start of the program, so that a node that reconnects after a full
    restart can't answer for a job of the new run that happens to have the same number.
    """
    return f"job-{epoch}-{job:X}"


def parse_wire_job_id(epoch: str, text: str) -> int | None:
    """Return the job's key, or None where `text` was not issued by this run."""
    prefix = f"job-{epoch}-"
    if not text.startswith(prefix) or len(text) > len(prefix) + 16:
        return None
    digits = text[len(prefix) :]
    try:
        job = int(digits, 16)
    except ValueError:
        return None
    return job if f"{job:X}" == digits and job >= 0 else None


def node_ref(slot: int, generation: int) -> int:
    """Pack a node's slot and the generation of that slot."""
    assert 0 <= slot < NODES_MAX
    return generation << _SLOT_BITS | slot


def slot_of(ref: int) -> int:
    """Return the node table row a reference points at."""
    return ref & SLOT_MASK


def generation_of(ref: int) -> int:
    """Return the generation of the slot that a reference was given for."""
    return ref >> _SLOT_BITS
