"""Resuming where peers speak TLS and show tokens: the resume token is all that it needs."""

import asyncio
from pathlib import Path

import pytest

from scheduler.sdk.client import SessionClient
from tests.integration.cluster import Cluster
from tests.integration.identified import Files, entry, reload, running
from tests.integration.peers import INIT, FakeNode, echo, encoded, raw_node, until
from tests.integration.returning import Returning, a_socket
from tests.integration.test_identity import bearer, secure, tls_settings, trusting

PLACES = pytest.mark.parametrize("place", [0, 1], ids=["same gateway", "other gateway"])


async def lose(cluster: Cluster, client: Returning) -> None:
    await client.abort()
    await until(lambda: cluster.total("sessions_suspended") == 1, "it is suspended")


async def ready(node: FakeNode) -> None:
    await node.register()
    await node.become_ready()


@PLACES
async def test_a_session_over_tls_is_resumed_over_tls(tmp_path: Path, place: int) -> None:
    settings = tls_settings(tmp_path)
    del settings["server.tls_client_ca_path"]
    with running(tmp_path, settings) as cluster:
        url, node_url = secure(cluster.session_url), secure(cluster.node_url)
        async with (
            raw_node(node_url, echo, ssl=trusting()) as node,
            a_socket(cluster, 0, url, ssl=trusting()) as client,
        ):
            await ready(node)
            await client.init()
            await lose(cluster, client)
            async with a_socket(cluster, place, url, ssl=trusting()) as again:
                await again.resume_from(client)
                for index, size in enumerate((1, 100_000, 2_000_000)):
                    audio = bytes([index]) * size
                    await again.speak(index, audio)
                    assert (await again.result(index))["tts_audio"] == encoded(audio)
                await lose(cluster, again)
                async with a_socket(cluster, 0, url, ssl=trusting()) as third:
                    await third.resume_from(again)
        await asyncio.to_thread(cluster.check_settled)


@PLACES
async def test_who_was_let_in_resumes_without_its_token(tmp_path: Path, place: int) -> None:
    """Not even once that is no longer good; a new session needs one."""
    files = Files(tmp_path)
    with running(tmp_path, files.settings) as cluster:
        async with a_socket(cluster, 0) as client:
            await client.init(token=files.acme)
            await lose(cluster, client)
            files.write_sessions(entry("any", files.session))
            await asyncio.to_thread(reload, cluster, "credentials changed")
            async with a_socket(cluster, place) as again:
                await again.resume_from(client)
                await again.fence()
            async with a_socket(cluster, place) as another:
                await another.send("session_init", **{**INIT, "token": files.acme})
                assert (await another.expect("error"))["code"] == "UNAUTHORIZED"
        await asyncio.to_thread(cluster.check_settled)


@PLACES
async def test_a_token_that_opens_sessions_takes_up_nobody_elses(
    tmp_path: Path, place: int
) -> None:
    files = Files(tmp_path)
    with running(tmp_path, files.settings) as cluster:
        async with a_socket(cluster, 0) as client:
            await client.init(token=files.acme)
            options = bearer(files.acme)
            async with a_socket(cluster, place, **options) as thief:
                error = await thief.refused(client, resume_token=files.acme)
                assert error["code"] == "INVALID_SESSION"
            await client.fence()
        await asyncio.to_thread(cluster.check_settled)


async def test_the_sdk_resumes_over_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    settings = tls_settings(tmp_path)
    del settings["server.tls_client_ca_path"]
    with running(tmp_path, {**files.settings, **settings}) as cluster:
        node_url = secure(cluster.node_url)
        async with (
            raw_node(node_url, echo, ssl=trusting(), **bearer(files.node)) as node,
            SessionClient.connect(
                secure(cluster.session_url),
                src_lang="en",
                tgt_lang="es",
                token=files.session,
                tls=trusting(),
                resumable=True,
            ) as session,
        ):
            await ready(node)
            for index in range(6):
                await session.send_audio(bytes([index]))
                session._connection.abort()
                await session.send_audio(bytes([index]))
                assert await session.end_utterance() == index
                assert (await session.result_for(index)).tts_audio == bytes([index, index])
            assert session.resumed == 6
        await asyncio.to_thread(cluster.check_settled)
