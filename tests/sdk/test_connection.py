import asyncio
import socket
import ssl
from contextlib import suppress

import pytest
from websockets.http11 import Request
from websockets.server import ServerProtocol

from scheduler.identity.credentials import TlsFiles
from scheduler.identity.tls import server_context
from scheduler.protocol.session import ServerHeartbeat, SessionClose, SessionCloseAck
from scheduler.sdk.connection import Connection, cancel_and_wait
from scheduler.sdk.errors import ConnectionLost
from scheduler.sdk.messages import session_event_decoder
from tests.identity.certificates import Authority
from tests.sdk.scripted_peer import listening_peer, run_async


@run_async
async def test_structs_go_out_as_text_and_bytes_as_binary() -> None:
    async with listening_peer() as peer:
        connection = await Connection.open(peer.url, session_event_decoder)
        link = await peer.accept()
        await connection.send(SessionClose("s", "done"))
        await connection.send_binary(b"\x00\x01")
        assert await link.raw() == '{"type":"session_close","session_id":"s","reason":"done"}'
        assert await link.raw() == b"\x00\x01"
        await connection.close()


@run_async
async def test_messages_of_another_version_are_passed_over() -> None:
    async with listening_peer() as peer:
        connection = await Connection.open(peer.url, session_event_decoder)
        link = await peer.accept()
        await link.send(type="of_tomorrow")
        await link.send(type="server_heartbeat", session_id=5, timestamp="soon")
        await link.send(type="server_heartbeat", session_id="s", timestamp=1, more=[])
        assert await connection.receive() == ServerHeartbeat("s", 1)
        await connection.close()


@run_async
async def test_a_closed_connection_says_so_at_every_use() -> None:
    async with listening_peer() as peer:
        connection = await Connection.open(peer.url, session_event_decoder)
        await (await peer.accept()).close(1001, "going away")
        with pytest.raises(ConnectionLost, match="1001 going away"):
            await connection.receive()
        with pytest.raises(ConnectionLost):
            await connection.send(SessionClose("s", ""))
        await connection.close()


@run_async
async def test_a_peer_that_ends_before_it_has_read_all_is_a_lost_connection() -> None:
    read_on = asyncio.Event()
    has_read = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.writelines(protocol.data_to_send())
        await read_on.wait()
        writer.write_eof()
        await asyncio.sleep(0)
        await reader.read(-1)
        has_read.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(30):
        connection = await Connection.open(f"ws://127.0.0.1:{port}", session_event_decoder)
        sending = asyncio.create_task(connection.send_binary(bytes(16 << 20)))
        await asyncio.sleep(0)
        read_on.set()
        with suppress(ConnectionLost):
            await sending
        await has_read.wait()
        with pytest.raises(ConnectionLost):
            await connection.receive()
        with pytest.raises(ConnectionLost):
            await connection.send(SessionClose("s", ""))
        await connection.close()
        connection.abort()


@run_async
async def test_tls_trusts_whom_it_is_told_to() -> None:
    ca = Authority()
    server = server_context(TlsFiles(*ca.issue("server")))
    trusting = ssl.create_default_context(cadata=ca.pem.decode())
    async with listening_peer(tls=server) as peer:
        connection = await Connection.open(peer.url, session_event_decoder, tls=trusting)
        await (await peer.accept()).send(type="session_close_ack", session_id="s")
        assert await connection.receive() == SessionCloseAck("s")
        await connection.close()
        with pytest.raises(ConnectionLost, match="certificate verify failed"):
            await Connection.open(peer.url, session_event_decoder)


@run_async
async def test_tls_is_not_left_out_where_it_is_asked_for() -> None:
    async with listening_peer() as peer:
        with pytest.raises(ConnectionLost, match="is not encrypted; write wss://"):
            await Connection.open(peer.url, session_event_decoder, tls=ssl.create_default_context())


@run_async
async def test_a_peer_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionLost, match="no answer from"):
            await Connection.open(
                f"ws://127.0.0.1:{port}/", session_event_decoder, timeout_seconds=0.05
            )


@run_async
async def test_an_http_refusal_is_a_lost_connection() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost, match="404"):
            await Connection.open(f"ws://127.0.0.1:{port}/", session_event_decoder)


@run_async
async def test_cancelled_tasks_have_ended() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def broken() -> None:
        raise RuntimeError

    tasks = [asyncio.create_task(forever()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    await cancel_and_wait(*tasks)
    assert all(task.done() for task in tasks)
