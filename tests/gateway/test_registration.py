"""What a node must be like to join."""

import pytest

from scheduler.errors import PeerError
from scheduler.gateway.registration import check_registration, registration
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import Gpu, Hardware, NodeRegister
from scheduler.protocol.session import Features


def node(**fields: object) -> NodeRegister:
    return NodeRegister(
        **{  # type: ignore[arg-type]
            "version": "1",
            "platform": "linux",
            "hardware": Hardware(8, 16),
            "installed_models": [],
            "features_supported": Features(),
            "accept_public_jobs": True,
            **fields,
        }
    )


@pytest.mark.parametrize("version", [None, "1.0"])
def test_the_known_capability_schema_may_join(version: str | None) -> None:
    check_registration(node(capability_schema_version=version), require_gpu=False)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (node(capability_schema_version="2.0"), ErrorCode.INVALID_CAPABILITY_SCHEMA),
        (node(), ErrorCode.NO_GPU_AVAILABLE),
        (node(hardware=Hardware(8, 16, [])), ErrorCode.NO_GPU_AVAILABLE),
        (node(node_id="a\nb", hardware=Hardware(1, 1, [Gpu("g", 8)])), ErrorCode.INVALID_MESSAGE),
        (node(node_id="a\0", hardware=Hardware(1, 1, [Gpu("g", 8)])), ErrorCode.INVALID_MESSAGE),
        (
            node(node_id="語" * 64, hardware=Hardware(1, 1, [Gpu("g", 8)])),
            ErrorCode.INVALID_MESSAGE,
        ),
    ],
)
def test_others_are_refused_with_the_code_that_says_why(
    message: NodeRegister, code: ErrorCode
) -> None:
    with pytest.raises(PeerError) as caught:
        check_registration(message, require_gpu=True)
    assert caught.value.code == code


def test_the_record_fills_in_what_the_node_left_out() -> None:
    record = registration(node(), 3, "node-1", 4, installed=["a"], ready=[])
    assert (record.conn, record.node_id, record.name) == (3, "node-1", "node-1")
    assert (record.capacity, record.gpus, record.gpu_memory_gb) == (4, 0, 0.0)
    assert (record.installed, record.ready) == (["a"], [])


def test_the_record_sums_the_gpus() -> None:
    message = node(
        hardware=Hardware(8, 16, [Gpu("a", 8), Gpu("b", 24)]), max_concurrent_jobs=9, name="Box"
    )
    record = registration(message, 0, "id", 4, installed=[], ready=[])
    assert (record.gpus, record.gpu_memory_gb, record.capacity, record.name) == (2, 32.0, 9, "Box")
