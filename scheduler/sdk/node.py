"""A node: takes jobs from the scheduler, runs a handler for each, comes back when cut off.

    async def handler(job: Job) -> JobOutcome: ...
    await NodeClient(url, services=["node-inference"], handler=handler).run()

offline ──connect, node_register, node_register_ack──► online ──connection lost──► offline
online ──node_control shutdown, stop()──► finishing its jobs ──► stopped
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog
from msgspec import UNSET

import scheduler
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import (
    CAPABILITY_SCHEMA_VERSION,
    Hardware,
    InstalledModel,
    InstalledService,
    JobAssign,
    JobCancel,
    JobResult,
    ModelStatus,
    NodeAsrPartial,
    NodeControl,
    NodeError,
    NodeHeartbeat,
    NodeRegister,
    NodeRegisterAck,
    NodeStatus,
    PairingCode,
    RequestPairingCode,
    ResourceUsage,
)
from scheduler.protocol.session import ErrorMessage, Features
from scheduler.sdk.backoff import Backoff
from scheduler.sdk.connection import Connection, cancel_and_wait
from scheduler.sdk.errors import ConnectionLost, Refused
from scheduler.sdk.jobs import Handler, JobRunner
from scheduler.sdk.messages import NodeOrder, node_order_decoder
from scheduler.sdk.usage import MachineUsage, Usage, machine_hardware

RESULT_KEEP_SECONDS = 120.0
"""A result waits this long for a connection; the scheduler has given the job up by then."""

_REGISTER_TIMEOUT_SECONDS = 30.0

_LASTING_REFUSALS = frozenset(
    {
        ErrorCode.UNAUTHORIZED,
        ErrorCode.INVALID_CAPABILITY_SCHEMA,
        ErrorCode.NO_GPU_AVAILABLE,
        ErrorCode.INVALID_MESSAGE,
        ErrorCode.NODE_ID_CONFLICT,
    }
)
"""Trying again would not help. (A conflict with our own old connection does pass.)"""

_log = structlog.get_logger(__name__)


class NodeClient:
    """One node. `run` serves until `stop`, an operator's shutdown, or a lasting refusal."""

    def __init__(
        self,
        url: str,
        *,
        services: Sequence[str | InstalledService],
        handler: Handler,
        capacity: int = 4,
        name: str | None = None,
        node_id: str | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        version: str = scheduler.__version__,
        platform: str = sys.platform,
        hardware: Hardware | None = None,
        installed_models: Sequence[InstalledModel] = (),
        features_supported: Features | None = None,
        capability_state: Mapping[str, ModelStatus] | None = None,
        accept_public_jobs: bool = True,
        heartbeat_seconds: float = 15.0,
        usage: Callable[[], Usage] | None = None,
        on_status: Callable[[NodeStatus], None] | None = None,
        on_control: Callable[[NodeControl], None] | None = None,
        backoff: Backoff | None = None,
        shutdown_seconds: float = 10.0,
    ) -> None:
        """`url` is ws://host:5010/ws/node; services without a `capability_state` are ready.

        `tls` is for wss:// addresses: whom to trust, and the node's certificate.
        """
        self.node_id = node_id
        self.status: str | None = None
        self._url = url
        self._tls = tls
        self._heartbeat_seconds = heartbeat_seconds
        self._usage = usage or MachineUsage()
        self._on_status = on_status
        self._on_control = on_control
        self._backoff = backoff or Backoff()
        self._shutdown_seconds = shutdown_seconds
        self._register = NodeRegister(
            version=version,
            platform=platform,
            hardware=hardware or machine_hardware(),
            installed_models=list(installed_models),
            features_supported=features_supported or Features(),
            accept_public_jobs=accept_public_jobs,
            capability_schema_version=CAPABILITY_SCHEMA_VERSION,
            installed_services=self._installed(services, version, platform),
            capability_state=dict(capability_state) if capability_state is not None else None,
            max_concurrent_jobs=capacity,
            name=name,
            token=token,
        )
        self._runner = JobRunner(handler, capacity, self._deliver, self._send_now)
        self._connection: Connection[NodeOrder] | None = None
        self._online = asyncio.Event()
        self._stopping = asyncio.Event()
        self._services_changed = False
        self._beat_now = asyncio.Event()
        self._pairing: asyncio.Future[PairingCode | Refused] | None = None
        self._stop_task: asyncio.Task[None] | None = None

    @property
    def running_jobs(self) -> int:
        """Jobs that the scheduler waits for."""
        return self._runner.running

    # --- life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until stopped; connect again, with the same id, whenever the connection is lost.

        Raises Refused where trying again would not help.
        """
        try:
            while not self._stopping.is_set():
                wait_seconds = await self._serve_until_lost()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):
                        await self._stopping.wait()
        finally:
            await self._runner.finish(timeout_seconds=0)
            if self._stop_task is not None:
                await cancel_and_wait(self._stop_task)

    async def stop(self) -> None:
        """Take no more jobs, let those that run end within `shutdown_seconds`, disconnect."""
        await self._runner.finish(self._shutdown_seconds)
        self._stopping.set()
        if self._connection is not None:
            await self._connection.close()

    def drop_connection(self) -> None:
        """Cut the connection as a broken network would; `run` comes back with the same id."""
        if self._connection is not None:
            self._connection.abort()

    async def _serve_until_lost(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        retry_after_ms = None
        try:
            await self._serve()
        except ConnectionLost as error:
            if not self._stopping.is_set():
                _log.warning("not connected", node_id=self.node_id, reason=str(error))
        except Refused as error:
            if error.code in _LASTING_REFUSALS and not self._may_pass(error):
                raise
            _log.warning("refused for now", node_id=self.node_id, reason=str(error))
            retry_after_ms = error.retry_after_ms
        return max(self._backoff.next_seconds(), (retry_after_ms or 0) / 1000)

    def _may_pass(self, error: Refused) -> bool:
        return error.code == ErrorCode.NODE_ID_CONFLICT and self.status is not None

    async def _serve(self) -> None:
        connection = await Connection.open(self._url, node_order_decoder, tls=self._tls)
        heartbeats = None
        try:
            await self._introduce(connection)
            if self._stopping.is_set():
                return
            self._connection = connection
            self._online.set()
            self._backoff.reset()
            heartbeats = asyncio.create_task(self._send_heartbeats(connection))
            while True:
                await self._take(await connection.receive())
        finally:
            self._online.clear()
            self._connection = None
            self._answer_pairing(Refused(ErrorCode.WS_DISCONNECTED, "the connection was lost"))
            if heartbeats is not None:
                await cancel_and_wait(heartbeats)
            await connection.close()

    async def _introduce(self, connection: Connection[NodeOrder]) -> None:
        self._register.node_id = self.node_id
        self._register.running_jobs = self._runner.held() or None
        self._services_changed = False
        await connection.send(self._register)
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes with the answer.
            async with asyncio.timeout(_REGISTER_TIMEOUT_SECONDS):
                answer = await connection.receive()
        except TimeoutError as error:
            raise ConnectionLost("no answer to node_register") from error
        if isinstance(answer, ErrorMessage):
            raise _refused(answer)
        if not isinstance(answer, NodeRegisterAck):
            raise ConnectionLost(f"{type(answer).__name__} came instead of node_register_ack")
        self.node_id = answer.node_id
        self.status = answer.status

    # --- what comes from the scheduler -----------------------------------------------------

    async def _take(self, order: NodeOrder) -> None:
        if isinstance(order, JobAssign):
            await self._runner.assign(order)
        elif isinstance(order, JobCancel):
            self._runner.cancel(order.job_id)
        elif isinstance(order, NodeStatus):
            self.status = order.status
            if self._on_status is not None:
                self._on_status(order)
        elif isinstance(order, NodeControl):
            self._control(order)
        elif isinstance(order, PairingCode):
            self._answer_pairing(order)
        elif isinstance(order, ErrorMessage):
            self._take_error(_refused(order))

    def _control(self, order: NodeControl) -> None:
        # Draining is the scheduler's business: it sends no more jobs. Only shutdown acts here.
        if order.command == "shutdown" and self._stop_task is None:
            self._runner.accepting = False  # now: a job may follow in the same read
            self._stop_task = asyncio.create_task(self.stop())
        if self._on_control is not None:
            self._on_control(order)

    def _take_error(self, error: Refused) -> None:
        if not self._answer_pairing(error):
            _log.warning("refused", node_id=self.node_id, code=error.code, reason=error.message)

    # --- what goes to the scheduler --------------------------------------------------------

    async def _deliver(self, result: JobResult) -> None:
        """Send a result, now or as soon as the node is online again; raises TimeoutError."""
        async with asyncio.timeout(RESULT_KEEP_SECONDS):
            while True:
                await self._online.wait()
                connection = self._connection
                result.node_id = self.node_id or ""
                try:
                    if connection is not None:
                        await connection.send(result)
                        return
                except ConnectionLost:
                    pass
                if connection is self._connection:  # lost, and the reader hasn't seen it yet
                    self._online.clear()

    async def _send_now(self, message: NodeAsrPartial | JobResult) -> None:
        """Send on the present connection; where there is none, the message is dropped."""
        if self._connection is not None:
            message.node_id = self.node_id or ""
            with suppress(ConnectionLost):
                await self._connection.send(message)

    async def report_error(self, code: str, message: str) -> None:
        """Tell the scheduler that something is wrong with this node. Raises ConnectionLost."""
        await self._require_connection().send(NodeError(self.node_id or "", code, message))

    async def request_pairing_code(self, timeout_seconds: float = 10.0) -> PairingCode:
        """Return a code with which one session can pair with this node.

        Raises ConnectionLost, TimeoutError, or Refused with the scheduler's code.
        """
        connection = self._require_connection()
        if self._pairing is None:
            self._pairing = asyncio.get_running_loop().create_future()
            await connection.send(RequestPairingCode())
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await asyncio.shield(self._pairing)
        except TimeoutError:
            self._pairing = None
            raise
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _answer_pairing(self, answer: PairingCode | Refused) -> bool:
        pairing, self._pairing = self._pairing, None
        if pairing is not None:
            pairing.set_result(answer)
        return pairing is not None

    def update_services(
        self,
        services: Sequence[str | InstalledService] | None = None,
        capability_state: Mapping[str, ModelStatus] | None = None,
    ) -> None:
        """Change what the node can do; what is not given stays. Told with a heartbeat at once."""
        if services is not None:
            register = self._register
            register.installed_services = self._installed(
                services, register.version, register.platform
            )
        if capability_state is not None:
            self._register.capability_state = dict(capability_state)
        self._services_changed = True
        self._beat_now.set()

    @staticmethod
    def _installed(
        services: Sequence[str | InstalledService], version: str, platform: str
    ) -> list[InstalledService]:
        return [
            InstalledService(service, version, platform) if isinstance(service, str) else service
            for service in services
        ]

    def _require_connection(self) -> Connection[NodeOrder]:
        if self._connection is None:
            raise ConnectionLost("the node is not connected")
        return self._connection

    async def _send_heartbeats(self, connection: Connection[NodeOrder]) -> None:
        with suppress(ConnectionLost):  # the reader sees it too, and acts
            while True:
                self._beat_now.clear()
                await connection.send(self._heartbeat())
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await self._beat_now.wait()

    def _heartbeat(self) -> NodeHeartbeat:
        usage = self._usage()
        beat = NodeHeartbeat(
            node_id=self.node_id or "",
            timestamp=time.time_ns() // 1_000_000,
            resource_usage=ResourceUsage(
                cpu_percent=usage.cpu_percent,
                mem_percent=usage.mem_percent,
                running_jobs=self._runner.running,
                gpu_percent=usage.gpu_percent,
                gpu_mem_percent=usage.gpu_mem_percent,
            ),
        )
        if self._services_changed:
            self._services_changed = False
            beat.installed_services = self._register.installed_services
            beat.capability_state = self._register.capability_state
        return beat


def _refused(error: ErrorMessage) -> Refused:
    return Refused(error.code, error.message, None if error.details is UNSET else error.details)
