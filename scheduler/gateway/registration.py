"""What a `node_register` must be like, and what the dispatcher learns of it."""

from scheduler.errors import PeerError
from scheduler.memory.layout import NODE_ID_BYTES_MAX
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import CAPABILITY_SCHEMA_VERSION, NodeRegister
from scheduler.protocol.records import RegisterNode


def check_registration(message: NodeRegister, *, require_gpu: bool) -> None:
    """Raise PeerError where the node can't join as it is."""
    version = message.capability_schema_version
    if version not in {None, CAPABILITY_SCHEMA_VERSION}:
        raise PeerError(
            ErrorCode.INVALID_CAPABILITY_SCHEMA,
            f"capability_schema_version {version} is not supported; "
            f"use {CAPABILITY_SCHEMA_VERSION}",
        )
    if require_gpu and not message.hardware.gpus:
        raise PeerError(ErrorCode.NO_GPU_AVAILABLE, "nodes need a GPU here (scheduler.require_gpu)")
    if message.node_id is not None and not _is_usable(message.node_id):
        raise PeerError(
            ErrorCode.INVALID_MESSAGE,
            f"node_id must be printable and at most {NODE_ID_BYTES_MAX} bytes of UTF-8",
        )


def _is_usable(node_id: str) -> bool:
    # Shared memory pads ids with zero bytes; one at an id's end would be lost there.
    return node_id.isprintable() and len(node_id.encode()) <= NODE_ID_BYTES_MAX


def registration(
    message: NodeRegister,
    conn: int,
    node_id: str,
    capacity_default: int,
    *,
    installed: list[str],
    ready: list[str],
) -> RegisterNode:
    """Return the record for the dispatcher."""
    gpus = message.hardware.gpus or []
    return RegisterNode(
        conn,
        node_id,
        message.name or node_id,
        message.max_concurrent_jobs or capacity_default,
        message.accept_public_jobs,
        installed,
        ready,
        float(message.hardware.cpu_cores),
        float(message.hardware.memory_gb),
        len(gpus),
        float(sum(gpu.memory_gb for gpu in gpus)),
    )
