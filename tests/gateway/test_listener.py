"""What a gateway does with all of its connections at once."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect

from scheduler import config
from scheduler.gateway.listener import ConnectionSettings
from tests.gateway.sockets import LOOPS, run_on, serve, until


@pytest.mark.parametrize("loop", LOOPS)
def test_all_are_closed_with_the_code(loop: str) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            clients = [await connect(site.url) for _ in range(5)]
            await until(lambda: len(site.listener) == 5)
            site.listener.close_all(1012, "service restart")
            for client in clients:
                await client.wait_closed()
                assert client.close_code == 1012
            await until(lambda: len(site.listener) == 0)

    run_on(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_wait_closed_cuts_who_does_not_go(loop: str) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            await site.raw()
            await site.raw_websocket()
            await until(lambda: len(site.listener) == 2)
            await asyncio.wait_for(site.listener.wait_closed(0.05), 10)
            assert len(site.listener) == 0

    run_on(loop, scenario)


def test_settings_come_from_the_configuration() -> None:
    loaded = config.load(None, {"SCHEDULER_SERVER__ALLOWED_ORIGINS": '["https://a.example"]'})
    settings = ConnectionSettings.of(loaded)
    assert settings.limits is loaded.limits
    assert settings.allowed_origins == {"https://a.example"}
    assert not settings.reads_tokens


@pytest.mark.parametrize(
    ("identity", "reads_tokens"),
    [
        ({"session_tokens_path": "s"}, True),
        ({"node_tokens_path": "n"}, True),
        ({"jwt_keys_path": "k", "jwt_issuer": "i", "jwt_audience": "a"}, True),
        ({"nodes_need_certificate": True}, False),
    ],
)
def test_tokens_are_read_where_they_are_checked(
    identity: dict[str, Any], reads_tokens: bool
) -> None:
    settings = config.IdentitySettings(**identity)
    assert ConnectionSettings.of(config.Config(identity=settings)).reads_tokens is reads_tokens
