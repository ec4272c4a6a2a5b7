import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from scheduler.ipc.channel import Channel, make_pipes
from scheduler.protocol.ids import node_ref
from scheduler.protocol.records import DrainNode
from scheduler.protocol.status import Status
from scheduler.stats.admin import AdminGate
from scheduler.stats.commands import REASON_CHARS_MAX, REASON_DEFAULT, CommandPipe, NodeCommands
from tests.stats.operators import Client, serve
from tests.stats.world import World, make_world

TOKEN = "secret"  # noqa: S105
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


class Desk:
    """Commands, and the dispatcher's end of their pipe."""

    def __init__(self, world: World) -> None:
        self.pipe = CommandPipe()
        self.notes: list[str] = []
        self.commands = NodeCommands(
            AdminGate(TOKEN),
            self.pipe,
            world.reader_views(),
            lambda kind, text: self.notes.append(f"{kind}: {text}"),
        )

    def link(self) -> Channel[DrainNode]:
        ours, theirs = make_pipes()
        self.pipe.attach(*ours)
        return Channel(*theirs, DrainNode, queue_bytes_max=1)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = Desk(world)
    with closing(desk.pipe):
        yield desk


async def command(client: Client, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    response = await client.post(f"/api/v1/nodes/{path}", **({"headers": AUTHORIZED} | options))
    return response.status, json.loads(await response.read())


def test_a_command_goes_to_the_dispatcher(world: World, desk: Desk) -> None:
    world.put_node(2, "a b")

    async def talk(client: Client) -> None:
        with closing(desk.link()) as dispatcher:
            answer = await command(client, "a%20b/drain", json={"reason": "new disk"})
            assert answer == (202, {"accepted": True})
            assert dispatcher.receive() == [DrainNode(node_ref(2, 1), True, "new disk")]
            world.put("nodes", 2, status=Status.DRAINING)
            assert (await command(client, "a%20b/resume"))[0] == 202
            assert dispatcher.receive() == [DrainNode(node_ref(2, 1), False, REASON_DEFAULT)]
        assert desk.notes == [
            "command: drain a b: new disk",
            f"command: resume a b: {REASON_DEFAULT}",
        ]
        assert desk.commands.sent == {"drain": 1, "resume": 1}

    serve(talk, commands=desk.commands)


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (Status.OFFLINE, "drain", 409),
        (Status.OFFLINE, "resume", 409),
        (Status.DRAINING, "drain", 409),
        (Status.READY, "resume", 409),
        (Status.FREE, "drain", 404),
        (Status.DEGRADED, "drain", 202),
    ],
)
def test_the_node_table_decides(
    world: World, desk: Desk, status: Status, name: str, expected: int
) -> None:
    world.put_node(0, "node", status=status)

    async def talk(client: Client) -> None:
        with closing(desk.link()) as dispatcher:
            assert (await command(client, f"node/{name}"))[0] == expected
            assert len(dispatcher.receive()) == (expected == 202)

    serve(talk, commands=desk.commands)


@pytest.mark.parametrize("node_id", ["other", "%00", "x" * 500, "%ff"])
def test_unknown_nodes(world: World, desk: Desk, node_id: str) -> None:
    world.put_node(0, "node")

    async def talk(client: Client) -> None:
        assert (await command(client, f"{node_id}/drain"))[0] == 404

    serve(talk, commands=desk.commands)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"reason": 5}', json.dumps({"reason": "x" * (REASON_CHARS_MAX + 1)})]
)
def test_bad_bodies_are_refused(world: World, desk: Desk, body: Any) -> None:
    world.put_node(0, "node")

    async def talk(client: Client) -> None:
        status, problem = await command(client, "node/drain", data=body)
        assert (status, problem["title"]) == (400, "Bad Request")

    serve(talk, commands=desk.commands)


def test_a_huge_body_is_refused(world: World, desk: Desk) -> None:
    world.put_node(0, "node")

    async def talk(client: Client) -> None:
        assert (await command(client, "node/drain", data=b" " * 10_000))[0] == 413

    serve(talk, commands=desk.commands)


def test_without_the_token_nothing_is_sent_or_told(world: World, desk: Desk) -> None:
    world.put_node(0, "node")

    async def talk(client: Client) -> None:
        with closing(desk.link()) as dispatcher:
            for node_id in ("node", "other"):
                assert (await command(client, f"{node_id}/drain", headers={}))[0] == 401
            assert dispatcher.receive() == []

    serve(talk, commands=desk.commands)


def test_a_token_of_any_bytes_is_only_wrong(world: World, desk: Desk) -> None:
    async def talk(client: Client) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        head = b"POST /api/v1/nodes/n/drain HTTP/1.0\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
        writer.write(head)
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()
        await writer.wait_closed()

    serve(talk, commands=desk.commands)


def test_a_dispatcher_that_is_gone_takes_no_command_until_the_next_is_linked(
    world: World, desk: Desk
) -> None:
    world.put_node(0, "node")

    async def talk(client: Client) -> None:
        status, problem = await command(client, "node/drain")
        assert (status, problem["detail"]) == (503, "there is no dispatcher now; try again")
        desk.link().close()
        assert (await command(client, "node/drain"))[0] == 503
        with closing(desk.link()) as dispatcher:
            assert (await command(client, "node/drain"))[0] == 202
            assert len(dispatcher.receive()) == 1

    serve(talk, commands=desk.commands)
