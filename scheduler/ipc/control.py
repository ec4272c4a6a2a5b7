"""The control socket between the supervisor and each child.

    supervisor                       child
        Link + 2 descriptors ─────────►   here are your pipes to that process (again)
        ◄───────────────────────── Ready  serving
        Drain ────────────────────────►   take nothing new, finish what is in flight
        ◄─────────────────────── Drained
        SetLogging ───────────────────►   the operator changed what is logged
        SetCredentials + 1 descriptor ►   the operator changed tokens, keys or certificates
        ◄──────────────────── BootFailed  can't start, and no restart will help

A SEQPACKET pair: message boundaries are kept, descriptors travel with their message, and the
end of file means that the other process is gone.
"""

import array
import os
import socket
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from scheduler.config import ObservabilitySettings
from scheduler.errors import ChannelClosed, ChannelCorrupt, ChannelFull

MESSAGE_BYTES_MAX = 16 << 10
REASON_CHARS_MAX = 2_000
_MESSAGES_PER_CALL = 64
_FDS_PER_MESSAGE = 2


class Link(Struct, frozen=True, tag=True):
    """Fresh pipes to a peer, as descriptors [read, write]; those before them are dead.

    `incarnation` counts the peer's starts before this one.
    """

    peer: Literal["gateway", "dispatcher", "stats"]
    index: int
    incarnation: int


class Drain(Struct, frozen=True, tag=True):
    """Accept nothing new; whatever isn't finished after `deadline_seconds` is given up.

    With `replaced` the others go on: the jobs of their sessions on our nodes are to be finished
    too.
    """

    deadline_seconds: float
    replaced: bool = False


class SetLogging(Struct, frozen=True, tag=True):
    """Log by these settings from now on."""

    settings: ObservabilitySettings


class SetCredentials(Struct, frozen=True, tag=True):
    """Check peers by the credentials in the descriptor from now on (identity/credentials.py)."""


class Ready(Struct, frozen=True, tag=True):
    """The child serves."""


class Drained(Struct, frozen=True, tag=True):
    """Nothing is in flight in this child any more."""


class BootFailed(Struct, frozen=True, tag=True):
    """The child can't start, and a restart would not help. `reason` is for the operator."""

    reason: str


Message = Link | Drain | SetLogging | SetCredentials | Ready | Drained | BootFailed

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Control:
    """One end of a control socket. Never blocks."""

    def __init__(self, fd: int) -> None:
        """Own the descriptor of a connected SEQPACKET socket."""
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor, readable when there are messages or the other end is gone."""
        return self._socket.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send `message` with duplicates of `fds`; the caller's own stay open.

        Raises ChannelFull where the other end has stopped reading, ChannelClosed where it is gone.
        """
        data = _encoder.encode(message)
        assert len(data) <= MESSAGE_BYTES_MAX
        assert len(fds) <= _FDS_PER_MESSAGE
        try:
            socket.send_fds(self._socket, [data], fds)
        except BlockingIOError as error:
            raise ChannelFull("the other process doesn't read its control socket") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed("the other process is gone") from error

    def receive(self) -> list[tuple[Message, list[int]]]:
        """Return the messages that are there, at most 64; the caller owns the descriptors.

        Raises ChannelClosed at the end, once every message before it was handed out, and
        ChannelCorrupt for what no peer of this version sends.
        """
        messages: list[tuple[Message, list[int]]] = []
        while len(messages) < _MESSAGES_PER_CALL:
            try:
                data, fds, flags = self._receive_one()
            except BlockingIOError:
                break
            except ConnectionResetError:
                # The peer went without reading everything. This is reported ahead of what it
                # had sent, its BootFailed perhaps: read on until the end.
                continue
            if not data:
                if messages:
                    break
                raise ChannelClosed("the other process is gone")
            messages.append((_decode(data, fds, flags), fds))
        return messages

    def _receive_one(self) -> tuple[bytes, list[int], int]:
        # Not socket.recv_fds: that of Python 3.11 drops its flags argument.
        fds = array.array("i")
        data, ancillary, flags, _ = self._socket.recvmsg(
            MESSAGE_BYTES_MAX,
            socket.CMSG_LEN(_FDS_PER_MESSAGE * fds.itemsize),
            socket.MSG_CMSG_CLOEXEC,
        )
        for _, _, content in ancillary:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        return data, fds.tolist(), flags

    def close(self) -> None:
        """Close this end; what the other end has not read yet it still can."""
        self._socket.close()


def make_control() -> tuple[Control, Control]:
    """Return the two ends of a new control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Control(ours.detach()), Control(theirs.detach())


def _decode(data: bytes, fds: list[int], flags: int) -> Message:
    problem: object = None
    if flags & socket.MSG_CTRUNC:
        problem = "descriptors were lost: raise the limit of open files (ulimit -n)"
    elif flags & socket.MSG_TRUNC:
        problem = f"a control message of more than {MESSAGE_BYTES_MAX} bytes"
    else:
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError as error:
            problem = error
    for fd in fds:
        os.close(fd)
    raise ChannelCorrupt(f"control socket: {problem}")
