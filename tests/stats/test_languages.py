import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.layout import LANGUAGE_BYTES_MAX
from scheduler.stats.languages import TOP_LANGUAGES_MAX, language_usage, top_languages
from scheduler.stats.schema import LanguageCount, LanguageUsage

DTYPE = f"S{LANGUAGE_BYTES_MAX}"

Sessions = list[tuple[str, str, bool]]


def usage_of(sessions: Sessions) -> dict[str, LanguageUsage]:
    return language_usage(
        np.array([source.encode() for source, _, _ in sessions], DTYPE),
        np.array([target.encode() for _, target, _ in sessions], DTYPE),
        np.array([two_way for _, _, two_way in sessions], np.bool_),
    )


def test_one_way_counts_each_language_on_its_side() -> None:
    assert usage_of([("zh", "en", False), ("en", "de", False)]) == {
        "de": LanguageUsage(as_source=0, as_target=1, total=1),
        "en": LanguageUsage(as_source=1, as_target=1, total=2),
        "zh": LanguageUsage(as_source=1, as_target=0, total=1),
    }


def test_two_way_counts_both_languages_on_both_sides() -> None:
    assert usage_of([("zh", "en", True)]) == {
        "en": LanguageUsage(as_source=1, as_target=1, total=2),
        "zh": LanguageUsage(as_source=1, as_target=1, total=2),
    }


def test_no_sessions() -> None:
    assert usage_of([]) == {}
    assert top_languages({}) == []


def test_a_language_cut_in_a_character_is_still_text() -> None:
    usage = language_usage(
        np.array(["é".encode()[:1]], DTYPE), np.array([b""], DTYPE), np.array([False])
    )
    assert list(usage) == ["\ufffd"]


def test_auto_is_no_top_source_but_may_be_a_target() -> None:
    usage = usage_of([("auto", "en", False)] * 5 + [("zh", "auto", False)])
    assert usage["auto"] == LanguageUsage(as_source=5, as_target=1, total=6)
    assert top_languages(usage) == [
        LanguageCount("en", 5),
        LanguageCount("auto", 1),
        LanguageCount("zh", 1),
    ]


def test_auto_alone_is_not_listed() -> None:
    assert top_languages(usage_of([("auto", "en", False)])) == [LanguageCount("en", 1)]


def test_the_top_ends_after_ten_and_is_sorted() -> None:
    sessions: Sessions = []
    for uses in range(1, 13):
        sessions += [(f"l{uses:02}", "", False)] * uses
    top = top_languages(usage_of(sessions))
    assert [entry.count for entry in top] == list(range(12, 12 - TOP_LANGUAGES_MAX, -1))
    assert top[0].language == "l12"


LANGUAGES = st.sampled_from(["", "auto", "de", "en", "yue", "zh"])


@given(st.lists(st.tuples(LANGUAGES, LANGUAGES, st.booleans()), max_size=30))
def test_agrees_with_counting_one_by_one(sessions: Sessions) -> None:
    sources: list[str] = []
    targets: list[str] = []
    for source, target, two_way in sessions:
        sources += [source, target] if two_way else [source]
        targets += [target, source] if two_way else [target]
    expected = {
        name: LanguageUsage(
            sources.count(name), targets.count(name), sources.count(name) + targets.count(name)
        )
        for name in {*sources, *targets} - {""}
    }
    assert usage_of(sessions) == expected
