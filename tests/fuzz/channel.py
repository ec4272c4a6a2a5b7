"""Target: frames of a pipe between two of our processes."""

import contextlib
import os
from typing import Any, get_args

import msgspec

from scheduler.errors import ChannelClosed, ChannelCorrupt
from scheduler.ipc.channel import Channel
from scheduler.protocol.records import ToDispatcher, ToGateway

_encode = msgspec.msgpack.Encoder().encode
_SCALARS: dict[type, Any] = {
    msgspec.inspect.IntType: 1 << 40,
    msgspec.inspect.FloatType: 0.5,
    msgspec.inspect.BoolType: True,
    msgspec.inspect.StrType: "text",
    msgspec.inspect.BytesType: b"bytes",
    msgspec.inspect.NoneType: None,
}


def records(union: Any) -> list[Any]:
    """Return one record of each kind, with plain values."""
    return [_plain(msgspec.inspect.type_info(kind)) for kind in get_args(union)]


def _plain(info: msgspec.inspect.Type) -> Any:
    if isinstance(info, msgspec.inspect.StructType):
        return info.cls(*(_plain(field.type) for field in info.fields))
    if isinstance(info, msgspec.inspect.UnionType):
        return _plain(info.types[0])
    if isinstance(info, msgspec.inspect.ListType):
        return [_plain(info.item_type)]
    if isinstance(info, msgspec.inspect.DictType):
        return {_plain(info.key_type): _plain(info.value_type)}
    return _SCALARS[type(info)]


def frame(payload: bytes) -> bytes:
    """Return a payload as it goes through a pipe."""
    return len(payload).to_bytes(4, "little") + payload


class ChannelTarget:
    """A channel reads records, or raises ChannelClosed or ChannelCorrupt, and reads on no more.

    An input is what the pipe carries. Its first byte says which records the reader expects, its
    second in how many pieces it comes.
    """

    def seeds(self) -> list[bytes]:
        """Return frames of one record and of many, and what is nearly a frame."""
        streams = []
        for which, union in enumerate((ToDispatcher, ToGateway)):
            made = records(union)
            payloads = [_encode([record]) for record in made] + [_encode(made), _encode(made * 40)]
            begin = bytes((which, 3))
            streams += [begin + frame(payload) for payload in payloads]
            streams.append(begin + b"".join(map(frame, payloads)))
            streams.append(begin + frame(payloads[-1])[:-1])
            streams += [begin + b"\xff\xff\xff\x7f", begin + bytes(8)]
        return streams

    def tokens(self) -> list[bytes]:
        """Return lengths, and heads of MessagePack."""
        lengths = [n.to_bytes(4, "little") for n in (0, 1, 2, 255, 65_536, 1 << 24, (1 << 32) - 1)]
        return [
            *lengths,
            *(bytes((b,)) for b in (0x90, 0x91, 0xC0, 0xC4, 0xC7, 0xCB, 0xCF, 0xD3)),
            *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
            *(b"\xdb\xff\xff\xff\xff", b"\xa1\xff", b"\xc9\x00\x00\x00\x01\x05"),
        ]

    def run(self, data: bytes) -> None:
        """Write the bytes into a real pipe, piece by piece, and read what comes out."""
        union: Any = ToGateway if data[:1] and data[0] & 1 else ToDispatcher
        stream = data[2:]
        size = max(1, len(stream) // (1 + (data[1] if len(data) > 1 else 0)))
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        channel: Channel[Any] = Channel(read_fd, write_fd, union, queue_bytes_max=1 << 20)
        try:
            with contextlib.suppress(ChannelCorrupt):
                for start in range(0, len(stream), size):
                    os.write(write_fd, stream[start : start + size])
                    _check(channel.receive(), union)
                _end(channel, write_fd)
                return
            _check_it_reads_no_more(channel)
        finally:
            channel.close()

    def close(self) -> None:
        """There is nothing to free."""


def _check(received: list[Any], union: Any) -> None:
    assert all(isinstance(record, get_args(union)) for record in received)
    _encode(received)


def _end(channel: Channel[Any], write_fd: int) -> None:
    """The writer goes away; the channel owns the descriptor, so another takes its number."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, write_fd, inheritable=False)
    os.close(null)
    try:
        while channel.receive():
            pass
    except ChannelClosed:
        return
    raise AssertionError("the end of the pipe was not noticed")


def _check_it_reads_no_more(channel: Channel[Any]) -> None:
    for _ in range(2):
        try:
            channel.receive()
        except ChannelCorrupt:
            continue
        raise AssertionError("where the next frame begins is not known any more")
