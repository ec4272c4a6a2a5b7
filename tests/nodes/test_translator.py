import pytest

from scheduler.nodes.errors import CommandError
from scheduler.nodes.translator import Translator
from tests.sdk.scripted_peer import run_async


@run_async
async def test_installed_pairs_are_found_and_translate() -> None:
    translator = await Translator.find()
    assert translator.supports("en", "es"), "install apertium and apertium-eng-spa"
    assert translator.supports("en-US", "es-MX")
    assert not translator.supports("en", "zh")
    assert await translator.translate("go forward ten meters", "en", "es") == (
        "Va de frente diez metros"
    )
    assert await translator.translate("hola", "es", "en") == "hello"


@run_async
async def test_markup_and_line_breaks_in_a_text_are_text() -> None:
    translator = await Translator.find()
    translated = await translator.translate("the house\n\0 <b> $ ^ [the dog] xyzzy", "en", "es")
    assert "\n" not in translated
    for part in ("casa", "perro", "<b>", "$", "^", "xyzzy"):
        assert part in translated


@run_async
async def test_no_text_needs_no_tool() -> None:
    assert await Translator(frozenset({"eng-xxx"})).translate(" \n", "en", "xxx") == ""


@run_async
async def test_a_mode_that_went_away_is_an_error() -> None:
    with pytest.raises(CommandError):
        await Translator(frozenset({"eng-xxx"})).translate("hello", "en", "xxx")
