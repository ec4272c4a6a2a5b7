"""Which languages the open sessions use."""

import numpy as np
from numpy.typing import NDArray

from scheduler.stats.schema import LanguageCount, LanguageUsage

TOP_LANGUAGES_MAX = 10
_DETECTED = "auto"
"""As a source it says that the language isn't known, so it can't be a popular one."""


def language_usage(
    source: NDArray[np.bytes_], target: NDArray[np.bytes_], two_way: NDArray[np.bool_]
) -> dict[str, LanguageUsage]:
    """Count sessions per language; arrays of shape (sessions,), UTF-8 of any width.

    A two-way session counts both its languages as source and as target.
    """
    spoken, spoken_index = np.unique(np.concatenate([source, target]), return_inverse=True)
    source_index, target_index = np.split(spoken_index, 2)

    def count(*indices: NDArray[np.intp]) -> list[int]:
        total: list[int] = np.bincount(np.concatenate(indices), minlength=len(spoken)).tolist()
        return total

    as_source = count(source_index, target_index[two_way])
    as_target = count(target_index, source_index[two_way])
    return {
        name.decode(errors="replace"): LanguageUsage(spoken_to, heard, spoken_to + heard)
        for name, spoken_to, heard in zip(spoken.tolist(), as_source, as_target, strict=True)
        if name
    }


def top_languages(usage: dict[str, LanguageUsage]) -> list[LanguageCount]:
    """Return the most used languages, equals in alphabetical order; "auto" not as a source."""
    counts = [
        LanguageCount(name, used.as_target if name == _DETECTED else used.total)
        for name, used in usage.items()
    ]
    counts.sort(key=lambda entry: (-entry.count, entry.language))
    return [entry for entry in counts[:TOP_LANGUAGES_MAX] if entry.count]
