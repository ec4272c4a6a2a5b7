"""Why a node lacks a model, as far as its MODEL_NOT_AVAILABLE says so."""

REASON_OTHER, REASON_UNSPECIFIED = "other", "unspecified"

MISSING_REASONS = (
    *("not_installed", "downloading", "loading", "disabled", "version_mismatch", "error"),
    *(REASON_OTHER, REASON_UNSPECIFIED),
)
"""Labels of counters: what nodes put in `error.details.reason`, and one for all they make up."""

_INDEX = {reason: index for index, reason in enumerate(MISSING_REASONS)}


def missing_reason(text: str | None) -> str:
    """Return which of MISSING_REASONS a node's reason counts under."""
    if not text:
        return REASON_UNSPECIFIED
    return text if text in _INDEX else REASON_OTHER


def missing_reason_index(reason: str) -> int:
    """Return a reason's place in MISSING_REASONS, that of "other" where it has none."""
    return _INDEX.get(reason, _INDEX[REASON_OTHER])
