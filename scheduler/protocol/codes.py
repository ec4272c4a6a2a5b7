"""Error codes of the wire protocol, each with the hint that people are shown."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Codes a session or node may receive in `error` and `ui_event`."""

    INVALID_MESSAGE = "INVALID_MESSAGE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    INVALID_SESSION = "INVALID_SESSION"
    SESSION_CLOSED = "SESSION_CLOSED"
    NODE_UNAVAILABLE = "NODE_UNAVAILABLE"
    NODE_OVERLOADED = "NODE_OVERLOADED"
    MODEL_NOT_AVAILABLE = "MODEL_NOT_AVAILABLE"
    MODEL_LOAD_FAILED = "MODEL_LOAD_FAILED"
    UNSUPPORTED_FEATURE = "UNSUPPORTED_FEATURE"
    INVALID_PAIRING_CODE = "INVALID_PAIRING_CODE"
    NO_AVAILABLE_NODE = "NO_AVAILABLE_NODE"
    WS_DISCONNECTED = "WS_DISCONNECTED"
    NMT_TIMEOUT = "NMT_TIMEOUT"
    TTS_TIMEOUT = "TTS_TIMEOUT"
    JOB_TIMEOUT = "JOB_TIMEOUT"
    MODEL_VERIFY_FAILED = "MODEL_VERIFY_FAILED"
    MODEL_CORRUPTED = "MODEL_CORRUPTED"
    NO_GPU_AVAILABLE = "NO_GPU_AVAILABLE"
    NODE_ID_CONFLICT = "NODE_ID_CONFLICT"
    INVALID_CAPABILITY_SCHEMA = "INVALID_CAPABILITY_SCHEMA"
    SERVER_BUSY = "SERVER_BUSY"
    UNAUTHORIZED = "UNAUTHORIZED"
    RATE_LIMITED = "RATE_LIMITED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    SERVER_SHUTDOWN = "SERVER_SHUTDOWN"


HINTS: dict[ErrorCode, str] = {
    ErrorCode.INVALID_MESSAGE: "The app sent something the server does not understand.",
    ErrorCode.INTERNAL_ERROR: "Something went wrong on the server. Please try again.",
    ErrorCode.INVALID_SESSION: "The session is not valid. Please reconnect.",
    ErrorCode.SESSION_CLOSED: "The session has ended. Please start a new one.",
    ErrorCode.NODE_UNAVAILABLE: "The translation node went away. Please try again.",
    ErrorCode.NODE_OVERLOADED: "The translation node is busy. Please try again in a moment.",
    ErrorCode.MODEL_NOT_AVAILABLE: "The translation model is not ready yet. Please try later.",
    ErrorCode.MODEL_LOAD_FAILED: "The translation model could not be loaded.",
    ErrorCode.UNSUPPORTED_FEATURE: "This feature is not supported here.",
    ErrorCode.INVALID_PAIRING_CODE: "The pairing code is wrong or has expired.",
    ErrorCode.NO_AVAILABLE_NODE: "No translation node is free. Please try again in a moment.",
    ErrorCode.WS_DISCONNECTED: "The connection was lost. Please reconnect.",
    ErrorCode.NMT_TIMEOUT: "Translating took too long. Please try again.",
    ErrorCode.TTS_TIMEOUT: "Speech output took too long. Please try again.",
    ErrorCode.JOB_TIMEOUT: "The translation took too long. Please try again.",
    ErrorCode.MODEL_VERIFY_FAILED: "The translation model could not be verified.",
    ErrorCode.MODEL_CORRUPTED: "The translation model is damaged.",
    ErrorCode.NO_GPU_AVAILABLE: "This node has no GPU, and the scheduler requires one.",
    ErrorCode.NODE_ID_CONFLICT: "Another connected node already uses this id.",
    ErrorCode.INVALID_CAPABILITY_SCHEMA: "The node's capability schema is not supported.",
    ErrorCode.SERVER_BUSY: "The server is busy. Please try again in a moment.",
    ErrorCode.UNAUTHORIZED: "Not authorised.",
    ErrorCode.RATE_LIMITED: "Too many messages. Please slow down.",
    ErrorCode.MESSAGE_TOO_LARGE: "The message is too large.",
    ErrorCode.SERVER_SHUTDOWN: "The server is restarting. Please reconnect.",
}


CODE_LABELS = (*(code.value for code in ErrorCode), "other")
"""Under what failures are counted: each code, and one for those that nodes make up."""

_CODE_INDEX = {label: index for index, label in enumerate(CODE_LABELS)}


def code_index(code: str) -> int:
    """Return a code's place in CODE_LABELS, the last one where it isn't ours."""
    return _CODE_INDEX.get(code, len(CODE_LABELS) - 1)


def hint(code: str) -> str:
    """Return the hint for people; a node's own unknown code gets the general one."""
    try:
        return HINTS[ErrorCode(code)]
    except ValueError:
        return HINTS[ErrorCode.INTERNAL_ERROR]
