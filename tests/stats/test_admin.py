import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from scheduler.stats.admin import (
    REFUSAL_REASONS,
    WINDOW_SECONDS,
    WRONG_PER_ADDRESS_MAX,
    WRONG_TOTAL_MAX,
    AdminGate,
)

TOKEN = "a token, ünicode too"  # noqa: S105


def asking(authorization: str | None, address: str = "10.0.0.1") -> web.Request:
    headers = {} if authorization is None else {"Authorization": authorization}
    request = make_mocked_request("POST", "/", headers=headers)
    return request.clone(remote=address)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1 << 50

    def __call__(self) -> int:
        return self.now_ns


def status(gate: AdminGate, authorization: str | None, **request: Any) -> int:
    refusal = gate.refusal(asking(authorization, **request))
    if refusal is None:
        return 200
    assert isinstance(refusal.body, bytes)
    assert json.loads(refusal.body)["status"] == refusal.status
    return refusal.status


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
def test_the_token_opens(authorization: str) -> None:
    assert status(AdminGate(TOKEN), authorization) == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"],
)
def test_anything_else_does_not(authorization: str | None) -> None:
    gate = AdminGate(TOKEN)
    refusal = gate.refusal(asking(authorization))
    assert refusal is not None
    assert refusal.status == 401
    assert refusal.headers["WWW-Authenticate"] == "Bearer"
    assert gate.refused.total() == 1


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer x"])
def test_without_a_token_nobody_gets_in(authorization: str | None) -> None:
    assert status(AdminGate(""), authorization) == 403


def test_guessing_is_limited_by_address_for_a_while() -> None:
    clock = Clock()
    gate = AdminGate(TOKEN, clock)
    assert {status(gate, "Bearer x") for _ in range(WRONG_PER_ADDRESS_MAX)} == {401}
    assert status(gate, f"Bearer {TOKEN}") == 429
    assert status(gate, f"Bearer {TOKEN}", address="10.0.0.2") == 200
    clock.now_ns += WINDOW_SECONDS * 1_000_000_000
    assert status(gate, f"Bearer {TOKEN}") == 200
    assert gate.refused == {"wrong": WRONG_PER_ADDRESS_MAX, "limited": 1}
    assert set(gate.refused) <= set(REFUSAL_REASONS)


def test_guessing_from_many_addresses_is_limited_too() -> None:
    gate = AdminGate(TOKEN, Clock())
    for number in range(WRONG_TOTAL_MAX):
        assert status(gate, "Bearer x", address=f"10.0.1.{number}") == 401
    assert status(gate, f"Bearer {TOKEN}", address="10.0.2.1") == 429


def test_to_show_none_is_no_guess() -> None:
    gate = AdminGate(TOKEN, Clock())
    for _ in range(2 * WRONG_PER_ADDRESS_MAX):
        assert status(gate, None) == 401
    assert status(gate, f"Bearer {TOKEN}") == 200
