"""Arenas: nothing overlaps, freed room comes back whole, a stale reference reads nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from scheduler.errors import ArenaFull
from scheduler.memory.arena import Arena, ArenaReader, create_arena
from scheduler.protocol.records import ArenaRef

SIZE = 1 << 16


@pytest.fixture
def ends() -> Iterator[tuple[Arena, ArenaReader]]:
    fd = create_arena(SIZE)
    arena, reader = Arena(fd, 1, 0), ArenaReader(fd)
    os.close(fd)
    yield arena, reader
    arena.close()
    reader.close()


def test_what_was_put_is_read(ends: tuple[Arena, ArenaReader]) -> None:
    arena, reader = ends
    ref = arena.put(b"one", b"", b"two")
    assert ref.arena == 1
    assert reader.get(ref) == b"onetwo"
    assert reader.get(arena.put()) == b""


def test_a_freed_block_is_gone_also_when_its_room_is_used_again(
    ends: tuple[Arena, ArenaReader],
) -> None:
    arena, reader = ends
    old = arena.put(b"x" * 100)
    arena.free(old.block)
    assert reader.get(old) is None
    new = arena.put(b"y" * 100)
    assert new.offset == old.offset
    assert reader.get(old) is None
    assert reader.get(new) == b"y" * 100


def test_freeing_twice_frees_nothing_else(ends: tuple[Arena, ArenaReader]) -> None:
    arena, reader = ends
    old = arena.put(b"x")
    arena.free(old.block)
    new = arena.put(b"y")
    arena.free(old.block)
    assert reader.get(new) == b"y"


def test_a_full_arena_refuses_and_has_room_again_after_freeing(
    ends: tuple[Arena, ArenaReader],
) -> None:
    arena, _ = ends
    refs = [arena.put(bytes(1_000)) for _ in range(SIZE // 1_024)]
    with pytest.raises(ArenaFull, match="no room"):
        arena.put(b"")
    for ref in refs:
        arena.free(ref.block)
    assert arena.used_bytes == 0
    assert arena.put(bytes(SIZE - 16)).size == SIZE - 16


def test_a_payload_larger_than_the_arena_is_refused(ends: tuple[Arena, ArenaReader]) -> None:
    arena, _ = ends
    with pytest.raises(ArenaFull):
        arena.put(bytes(SIZE))


@pytest.mark.parametrize(
    "ref",
    [
        ArenaRef(0, -256, 10, 1),
        ArenaRef(0, SIZE, 10, 1),
        ArenaRef(0, SIZE - 256, 1 << 40, 1),
        ArenaRef(0, 0, -1, 1),
        ArenaRef(0, 3, 1, 1),
        ArenaRef(0, 0, 0, 0),
    ],
)
def test_a_reference_to_no_block_reads_nothing(
    ends: tuple[Arena, ArenaReader], ref: ArenaRef
) -> None:
    _, reader = ends
    assert reader.get(ref) is None


def test_a_reference_with_another_size_reads_nothing(ends: tuple[Arena, ArenaReader]) -> None:
    arena, reader = ends
    ref = arena.put(b"four")
    for size in (0, 3, 5):
        assert reader.get(ArenaRef(ref.arena, ref.offset, size, ref.block)) is None


def test_a_new_owner_voids_what_the_last_one_left() -> None:
    fd = create_arena(SIZE)
    first = Arena(fd, 0, 0)
    old = first.put(b"old")
    second, reader = Arena(fd, 0, 1), ArenaReader(fd)
    assert reader.get(old) is None
    new = second.put(b"new")
    assert new.block != old.block
    assert reader.get(old) is None
    assert reader.get(new) == b"new"
    for end in (first, second, reader):
        end.close()
    os.close(fd)


def test_another_process_reads_by_descriptor() -> None:
    fd = create_arena(SIZE)
    arena = Arena(fd, 0, 0)
    ref = arena.put(b"hello")
    code = (
        "import sys; from scheduler.memory.arena import ArenaReader;"
        "from scheduler.protocol.records import ArenaRef;"
        "a = list(map(int, sys.argv[1:]));"
        "sys.stdout.buffer.write(ArenaReader(a[0]).get(ArenaRef(*a[1:])))"
    )
    arguments = map(str, (fd, ref.arena, ref.offset, ref.size, ref.block))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        pass_fds=[fd],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == b"hello"
    arena.close()
    os.close(fd)


READER = """
import sys
from scheduler.memory.arena import ArenaReader
from scheduler.protocol.records import ArenaRef

reader = ArenaReader(int(sys.argv[1]))
for line in sys.stdin:
    ref = ArenaRef(*map(int, line.split()))
    payload = reader.get(ref)
    right = payload == bytes([ref.block % 251]) * ref.size
    print("gone" if payload is None else "right" if right else "wrong", flush=True)
"""


def put_next(arena: Arena, size: int) -> ArenaRef:
    """Fill a block with a byte that tells its number."""
    ref = arena.put(b"")
    arena.free(ref.block)
    return arena.put(bytes([(ref.block + 1) % 251]) * size)


def test_a_reader_in_a_race_with_the_owner_gets_the_right_bytes_or_none() -> None:
    rounds, size = 1_000, SIZE // 2 - 16
    fd = create_arena(SIZE)
    arena = Arena(fd, 0, 0)
    answers_live, answers_raced = [], []
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(fd)],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for _ in range(rounds):
                live, raced = put_next(arena, size), put_next(arena, size)
                for ref in (live, raced):
                    process.stdin.write(f"{ref.arena} {ref.offset} {ref.size} {ref.block}\n")
                # The same room is filled again while the reader may be copying from it.
                arena.free(raced.block)
                again = put_next(arena, size)
                assert again.offset == raced.offset
                answers_live.append(process.stdout.readline().strip())
                answers_raced.append(process.stdout.readline().strip())
                arena.free(live.block)
                arena.free(again.block)
        finally:
            process.stdin.close()
            process.kill()
    arena.close()
    os.close(fd)
    assert set(answers_live) == {"right"}
    assert set(answers_raced) <= {"right", "gone"}


class ArenaMachine(RuleBasedStateMachine):
    """Puts and frees in any order; every live block keeps its bytes."""

    refs = Bundle("refs")

    def __init__(self) -> None:
        super().__init__()
        fd = create_arena(SIZE)
        self.arena, self.reader = Arena(fd, 0, 0), ArenaReader(fd)
        os.close(fd)
        self.live: dict[int, tuple[ArenaRef, bytes]] = {}

    @rule(target=refs, size=st.integers(0, 5_000), fill=st.binary(min_size=1, max_size=1))
    def put(self, size: int, fill: bytes) -> ArenaRef:
        payload = fill * size
        try:
            ref = self.arena.put(payload)
        except ArenaFull:
            return ArenaRef(0, 0, 0, -1)
        self.live[ref.block] = (ref, payload)
        return ref

    @rule(ref=consumes(refs))
    def free(self, ref: ArenaRef) -> None:
        self.arena.free(ref.block)
        self.live.pop(ref.block, None)

    @invariant()
    def live_blocks_keep_their_bytes(self) -> None:
        for ref, payload in self.live.values():
            assert self.reader.get(ref) == payload

    def teardown(self) -> None:
        for block in list(self.live):
            self.arena.free(block)
        assert self.arena.used_bytes == 0
        self.arena.free(self.arena.put(bytes(SIZE - 16)).block)
        self.arena.close()
        self.reader.close()


TestArenaMachine = ArenaMachine.TestCase
TestArenaMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
