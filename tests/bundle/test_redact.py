"""Secrets go, whatever they stand in; all else stays."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.bundle.redact import Redactor

SECRET = "s3cr3t-Value.x/y+z="  # noqa: S105
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
MEBIBYTE = 1 << 20


def redacted(text: str) -> tuple[str, dict[str, int]]:
    redactor = Redactor()
    return redactor.text(text), dict(redactor.removed)


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        (f"Authorization: Bearer {SECRET}", "Authorization: ***", "authorization"),
        (f"authorization: Basic {SECRET}\nHost: x", "authorization: ***\nHost: x", "authorization"),
        (f"> Authorization: {SECRET}", "> Authorization: ***", "authorization"),
        (f'Authorization: Digest username="u", response="{SECRET}"', "Authorization: ***", None),
        (f"Proxy-Authorization: Basic {SECRET}", "Proxy-Authorization: ***", "authorization"),
        (f"{{'Authorization': 'Bearer {SECRET}', 'a': 'b'}}", None, "authorization"),
        (f"(b'authorization', b'Bearer {SECRET}')", None, "authorization"),
        (f"sent bearer {SECRET} twice", "sent bearer *** twice", "authorization"),
        (f"GET /ws?token={SECRET}&lang=en HTTP/1.1", "GET /ws?token=***&lang=en HTTP/1.1", "token"),
        (f"token={SECRET} session=sess-0A1B", "token=*** session=sess-0A1B", "token"),
        (f"admin_token = '{SECRET}'", "admin_token = '***'", "token"),
        (f"accessToken: {SECRET}", "accessToken: ***", "token"),
        (f"API_KEY={SECRET}", "API_KEY=***", "token"),
        (f"AWS_SECRET_ACCESS_KEY={SECRET}", "AWS_SECRET_ACCESS_KEY=***", "token"),
        (f"https://s3/x?X-Amz-Signature={SECRET}", "https://s3/x?X-Amz-Signature=***", "token"),
        (f"password: {SECRET}, user: u", "password: ***, user: u", "token"),
        (f'token="{SECRET}', 'token="***', "token"),  # cut in the middle
        ('token="with a space and \\" in it" x', 'token="***" x', "token"),
        (f"Cookie: a={SECRET}; b=2\nnext", "Cookie: ***\nnext", "cookie"),
        (f"Set-Cookie: id={SECRET}; HttpOnly", "Set-Cookie: ***", "cookie"),
        (f"got {JWT} from it", "got *** from it", "jwt"),
        (f"got {JWT[:30]}", "got ***", "jwt"),
        (f"http://user:{SECRET.replace('/', '')}@hub:5000/api", "http://***@hub:5000/api", None),
        ("pairing code 123456 for node-1", "pairing code *** for node-1", "pairing_code"),
        ("pairing_code=123456", "pairing_code=***", "pairing_code"),
        ('{"type":"pairing_code","code":"123456"}', None, "pairing_code"),
        ('{"code": "123456", "type": "pairing_code"}', None, "pairing_code"),
        (
            f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
            "private_key",
        ),
    ],
)
def test_a_secret_is_masked(text: str, expected: str | None, kind: str | None) -> None:
    shown, removed = redacted(text)
    assert SECRET not in shown
    assert SECRET.replace("/", "") not in shown
    assert "123456" not in shown
    assert "***" in shown
    if expected is not None:
        assert shown == expected
    assert sum(removed.values()) == 1
    assert kind is None or kind in removed
    redactor = Redactor()
    assert redactor.document([1, {"text": [text]}]) == [1, {"text": [shown]}]
    assert redactor.removed == removed


@pytest.mark.parametrize(
    "text",
    [
        "job job-4941aefa-10000000000157B on node-0B0DFC5D8AC2 of sess-0A1B2C3D",
        "trace 123e4567-e89b-12d3-a456-426614174000",
        "INVALID_PAIRING_CODE: the code is wrong",
        "show server.admin_token, or use 127.0.0.1",
        "tokens: 5, token_count=7, tokenizer=bpe",
        "code=1006 exit_code=70 bytes=123456",
        "http://127.0.0.1:5011/api/v1/nodes",
        "mail to ops@example.com: see http://example.com",
        "Eyjafjallajökull, eyjafjallajokull",
        "a keyboard, a monkey: 3",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == (text, {})


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(
    "secret", [SECRET, 'quo"ted', "it's", "two words", "back\\slash", "ümlaut"]
)
def test_json_within_json_is_seen_through(secret: str, depth: int) -> None:
    text = json.dumps({"token": secret, "session_id": "sess-1"})
    for _ in range(depth - 1):
        text = json.dumps({"event": f"got {text}", "level": "info"})
    shown, removed = redacted(text)
    assert removed == {"token": 1}
    for _ in range(depth - 1):
        text = json.loads(shown)["event"].removeprefix("got ")
        shown = text
    assert json.loads(shown) == {"token": "***", "session_id": "sess-1"}


FORMS: tuple[Callable[[str], str], ...] = (
    lambda secret: f"?a=1&token={secret}&b=2",
    lambda secret: f"Authorization: Bearer {secret}\r\nHost: h",
    lambda secret: json.dumps({"a": 1, "token": secret}),
    lambda secret: json.dumps({"text": json.dumps({"admin_token": secret})}),
    lambda secret: repr({"password": secret}),
    lambda secret: f"{{'Authorization': {secret!r}}}",
)


@given(
    st.text("abcXYZ0189-._~+/", min_size=12, max_size=60),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=4),
    st.sampled_from(["\n", " ", " | "]),
)
def test_no_secret_is_left_in_any_form(
    secret: str, forms: list[Callable[[str], str]], between: str
) -> None:
    shown, removed = redacted(between.join(form(secret) for form in forms))
    assert secret not in shown
    assert sum(removed.values()) >= 1
    assert redacted(shown) == (shown, {}), "twice is as once"


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    shown, _ = redacted(text)
    assert redacted(shown)[0] == shown


# Were one of the patterns quadratic, a mebibyte of these would take hours.
@pytest.mark.parametrize(
    "unit",
    [
        *("a", "token", 'token:"', "token='\\'", "secret_", 'signature\\\\"', "code=", "\\", '"'),
        *("eyJ-", "eyJabcdefgh.", "://", "://a:b", "pairing code ", "authorization: ", "bearer "),
        *("authorization: digest ", "cookie=", "-----BEGIN PRIVATE KEY-----", " "),
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    Redactor().text(unit * (MEBIBYTE // len(unit)))


# --- documents ------------------------------------------------------------------------------


def test_documents_are_masked_by_their_names_and_by_what_they_say() -> None:
    redactor = Redactor()
    document = {
        "server": {"admin_token": SECRET, "port": 5010},
        "headers": [{"Authorization": SECRET}, {"x": f"Bearer {SECRET}"}],
        "accessToken": SECRET,
        "hello": {"type": "pairing_code", "code": "123456"},
        "pairing_code": "123456",
        "pair": ("token=abc", 1),
        "node": {"id": "node-1", "code": "NODE_OVERLOADED"},
        f"token={SECRET}": None,
    }
    assert redactor.document(document) == {
        "server": {"admin_token": "***", "port": 5010},
        "headers": [{"Authorization": "***"}, {"x": "Bearer ***"}],
        "accessToken": "***",
        "hello": {"type": "pairing_code", "code": "***"},
        "pairing_code": "***",
        "pair": ["token=***", 1],
        "node": {"id": "node-1", "code": "NODE_OVERLOADED"},
        "token=***": None,
    }
    assert redactor.removed == {"token": 5, "authorization": 1, "pairing_code": 2}


def test_figures_named_after_secrets_stay() -> None:
    document = {"INVALID_PAIRING_CODE": 123456, "token": 0, "pairing_code": None, "secret": True}
    redactor = Redactor()
    assert redactor.document(document) == document
    assert not redactor.removed


def test_what_is_masked_already_or_empty_is_not_counted() -> None:
    document = {"admin_token": "***", "token": "", "text": 'token="***" password=; token='}
    redactor = Redactor()
    assert redactor.document(document) == document
    assert not redactor.removed


def test_the_same_secret_counts_each_time() -> None:
    redactor = Redactor()
    for _ in range(3):
        assert redactor.text("token=abc") == "token=***"
        assert redactor.text("nothing") == "nothing"
    assert redactor.removed == {"token": 3}
