import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from scheduler.errors import PeerError
from scheduler.gateway.segmenter import Cut, Segmenter, check_audio, decode_payload
from scheduler.protocol.codes import ErrorCode

PAUSE_NS = 1_000


def segmenter(bytes_max: int = 1 << 20) -> Segmenter:
    return Segmenter(PAUSE_NS, bytes_max)


def test_final_chunk_ends_the_utterance() -> None:
    speech = segmenter()
    assert speech.add(b"ab", False, 0) is None
    assert speech.add(b"c", True, 10) == Cut(b"abc", "final")
    assert speech.deadline_ns is None


def test_final_without_payload_ends_what_was_buffered() -> None:
    speech = segmenter()
    speech.add(b"ab", False, 0)
    assert speech.add(b"", True, 10) == Cut(b"ab", "final")


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_utterance_without_audio_makes_nothing(chunks: int) -> None:
    speech = segmenter()
    for seq in range(chunks):
        assert speech.add(b"", False, seq) is None
    assert speech.deadline_ns is None
    assert speech.poll(10 * PAUSE_NS) is None
    assert speech.add(b"", True, 10 * PAUSE_NS) is None


def test_pause_is_counted_from_the_last_chunk() -> None:
    speech = segmenter()
    speech.add(b"a", False, 100)
    speech.add(b"b", False, 900)
    assert speech.deadline_ns == 900 + PAUSE_NS
    assert speech.poll(899 + PAUSE_NS) is None
    assert speech.poll(900 + PAUSE_NS) == Cut(b"ab", "pause")
    assert speech.poll(900 + PAUSE_NS) is None


def test_an_empty_chunk_keeps_an_utterance_alive() -> None:
    speech = segmenter()
    speech.add(b"a", False, 0)
    speech.add(b"", False, 500)
    assert speech.poll(PAUSE_NS) is None
    assert speech.poll(500 + PAUSE_NS) == Cut(b"a", "pause")


def test_a_late_chunk_joins_until_the_pause_was_polled() -> None:
    speech = segmenter()
    speech.add(b"a", False, 0)
    assert speech.add(b"b", True, 5 * PAUSE_NS) == Cut(b"ab", "final")


def test_odd_byte_counts_pass_untouched() -> None:
    assert segmenter().add(b"abc", True, 0) == Cut(b"abc", "final")


def test_bound_is_inclusive_and_over_it_the_utterance_is_dropped() -> None:
    speech = segmenter(bytes_max=4)
    speech.add(b"abc", False, 0)
    assert speech.add(b"d", True, 0) == Cut(b"abcd", "final")
    speech.add(b"abcd", False, 0)
    with pytest.raises(PeerError, match=r"limits\.utterance_bytes_max") as caught:
        speech.add(b"e", True, 0)
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE
    assert caught.value.details == {"utterance_bytes_max": 4}
    assert speech.deadline_ns is None
    assert speech.add(b"fg", True, 0) == Cut(b"fg", "final")


def test_the_rest_of_a_dropped_utterance_is_dropped_to_its_end() -> None:
    speech = segmenter(bytes_max=4)
    for ends_by_pause in (False, True):
        with pytest.raises(PeerError):
            speech.add(b"abcde", False, 0)
        assert speech.add(b"f", False, 1) is None
        if ends_by_pause:
            assert speech.poll(PAUSE_NS) is None
            assert speech.poll(1 + PAUSE_NS) is None
        else:
            assert speech.add(b"g", True, 2) is None
        assert speech.deadline_ns is None
        assert speech.add(b"hi", True, 3) == Cut(b"hi", "final")


def test_a_pause_may_begin_later_than_the_last_chunk() -> None:
    speech = segmenter()
    speech.add(b"ab", False, 0)
    speech.start_pause(500)
    assert speech.poll(PAUSE_NS) is None
    assert speech.poll(500 + PAUSE_NS) == Cut(b"ab", "pause")


@given(
    st.lists(
        st.tuples(st.binary(max_size=4), st.booleans(), st.integers(0, 2 * PAUSE_NS)), max_size=40
    )
)
def test_every_byte_leaves_once_and_in_order(
    chunks: list[tuple[bytes, bool, int]],
) -> None:
    speech = segmenter()
    now_ns = 0
    cuts: list[Cut] = []
    for payload, is_final, later_ns in chunks:
        now_ns += later_ns
        due = speech.deadline_ns is not None and speech.deadline_ns <= now_ns
        paused = speech.poll(now_ns)
        assert (paused is not None) == due
        ended = speech.add(payload, is_final, now_ns)
        if is_final:
            assert speech.deadline_ns is None
        cuts += [cut for cut in (paused, ended) if cut]
    last = speech.poll(now_ns + PAUSE_NS)
    cuts += [last] if last else []
    assert b"".join(cut.audio for cut in cuts) == b"".join(payload for payload, _, _ in chunks)
    assert all(cut.audio for cut in cuts)


@given(st.binary(max_size=100))
def test_payload_round_trip(audio: bytes) -> None:
    assert decode_payload(base64.b64encode(audio).decode()) == audio


BAD_BASE64 = [
    "A",
    "AA",
    "AAA",
    "AAA=A",
    "AA==AAAA",
    "AAAA\n",
    "AA A",
    "-_AA",
    "AA\u00e9=",
    "\u20ac",
]


@pytest.mark.parametrize("text", BAD_BASE64)
def test_payload_is_strict_base64(text: str) -> None:
    with pytest.raises(PeerError, match=r"audio_chunk\.payload") as caught:
        decode_payload(text)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


@given(st.binary(min_size=1, max_size=100))
def test_whole_audio_stays_the_text_it_came_as(audio: bytes) -> None:
    text = b'"%b"' % base64.b64encode(audio)
    assert check_audio(Raw(text)) == text


@given(st.binary(min_size=1, max_size=100))
def test_escaped_audio_becomes_plain(audio: bytes) -> None:
    plain = base64.b64encode(audio).decode()
    escaped = plain.replace("/", "\\/").replace("+", "\\u002b").replace("A", "\\u0041")
    assert check_audio(Raw(f'"{escaped}"'.encode())) == f'"{plain}"'.encode()


@pytest.mark.parametrize(
    "raw", [b"null", b"1", b"true", b"[]", b"{}", b'["AAAA"]', b'{"a":"AAAA"}']
)
def test_audio_must_be_a_string(raw: bytes) -> None:
    with pytest.raises(PeerError, match="must be a base64 string") as caught:
        check_audio(Raw(raw))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("text", [*BAD_BASE64, "\n", '"', "\\", '","x":"'])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_whole_audio_is_strict_base64(text: str, ascii_only: bool) -> None:
    with pytest.raises(PeerError, match=r"utterance\.audio is not base64") as caught:
        check_audio(Raw(json.dumps(text, ensure_ascii=ascii_only).encode()))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("raw", [b'"\xff\xfe=="', b'"\\u0041\xff=="', b'"\\ud800"'])
def test_audio_that_is_not_even_text_is_refused(raw: bytes) -> None:
    with pytest.raises(PeerError, match="is not base64"):
        check_audio(Raw(raw))


def test_empty_audio_is_refused() -> None:
    with pytest.raises(PeerError, match="empty") as caught:
        check_audio(Raw(b'""'))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
