"""Logging: one set-up for every process, which may be changed while it runs.

Code says `structlog.get_logger(__name__)`; what the standard library's loggers are given
(asyncio, aiohttp) comes out in the same form.
"""

import atexit
import logging
import os
import sys
import time
from collections.abc import Callable

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from scheduler.config import ObservabilitySettings
from scheduler.repeats import WINDOW_NS, Repeats


class _Logger(structlog.make_filtering_bound_logger(logging.DEBUG)):  # type: ignore[misc]
    """What `get_logger` gives.

    Modules keep theirs for good, so a change of level must reach those too: it changes this
    class's base, in which the methods below the level do nothing.
    """


class _NamedWriteLogger(structlog.WriteLogger):
    """Writes lines; knows the name of the module whose logger it is."""

    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stderr)
        self.name = name


_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_LEFT_OUT = "repeated warnings left out"

_logger = structlog.get_logger(__name__)

# Changed in place, because loggers in use hold on to the list.
_processors: list[Processor] = []
_repeats = Repeats()
_limited = False
_keep: Callable[[str, str], None] | None = None


def configure_logging(
    settings: ObservabilitySettings, process: str, *, limit_repeats: bool = True
) -> None:
    """Send this process's events to standard error, marked with `process` and its pid.

    `process` is a name for people, as "gateway 0". Each event is one write, so that lines of
    several processes on one pipe don't mix. Called again, it changes loggers in use too. With
    `limit_repeats`, call `flush_repeats` now and then.
    """
    global _limited  # noqa: PLW0603 - logging is one per process
    _limited = limit_repeats
    base, levels = _NUMBERS[settings.log_level], _levels(settings)
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared = _shared_processors(process, console)
    renderer: Processor = (
        _console_renderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer()
    )
    # Ahead of all others: what is dropped must cost little.
    first = [_LevelFilter(base, levels)] if levels else []
    _processors[:] = [*first, _drop_repeats, _keep_event, *shared, renderer]
    _Logger.__bases__ = (structlog.make_filtering_bound_logger(min(base, *levels.values(), base)),)
    structlog.configure(
        processors=_processors,
        wrapper_class=_Logger,
        logger_factory=_NamedWriteLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    handler.addFilter(_admit_record)
    # Libraries tell at INFO what our own events already say.
    logging.basicConfig(handlers=[handler], level=max(base, logging.WARNING), force=True)
    atexit.unregister(flush_repeats)
    atexit.register(flush_repeats, at_end=True)


def _console_renderer(*, colors: bool) -> Processor:
    # Not with variables in tracebacks, as by default: among them are tokens, and what people said.
    tracebacks = structlog.dev.RichTracebackFormatter(
        color_system="truecolor" if colors else None, show_locals=False
    )
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=tracebacks)


def keep_events(keep: Callable[[str, str], None]) -> None:
    """Also give each event that is logged from now on, but for debug lines, to `keep`.

    It is called with the level and the event as one line of text.
    """
    global _keep  # noqa: PLW0603 - logging is one per process
    _keep = keep


def _keep_event(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if _keep is not None and method != "debug":
        known = " ".join(f"{key}={event[key]}" for key in event if key not in {"event", "exc_info"})
        _keep(method, f"{event['event']} {known}".rstrip())
    return event


def flush_repeats(*, at_end: bool = False) -> None:
    """Log how many warnings were left out in windows that have passed, or at the end in all."""
    for repeated, left_out in _repeats.ended(time.monotonic_ns(), all_windows=at_end):
        _logger.warning(_LEFT_OUT, repeated=repeated, count=left_out, seconds=WINDOW_NS // 10**9)


def _levels(settings: ObservabilitySettings) -> dict[str, int]:
    return {module: _NUMBERS[level] for module, level in settings.levels.items()}


class _LevelFilter:
    """Drops events below the level of their module: that of the longest name which fits."""

    def __init__(self, base: int, levels: dict[str, int]) -> None:
        self._base = base
        self._levels = levels
        self._found: dict[str, int] = {}

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _NUMBERS[method] < self._of(getattr(logger, "name", "")):
            raise structlog.DropEvent
        return event

    def _of(self, name: str) -> int:
        level = self._found.get(name)
        if level is None:
            fitting = [m for m in self._levels if name == m or name.startswith(f"{m}.")]
            level = self._levels[max(fitting, key=len)] if fitting else self._base
            self._found[name] = level
        return level


def _drop_repeats(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if method == "warning" and event["event"] != _LEFT_OUT and not _admit(str(event["event"])):
        raise structlog.DropEvent
    return event


def _admit_record(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING or _admit(str(record.msg))


def _admit(key: str) -> bool:
    if not _limited:
        return True
    flush_repeats()
    return _repeats.admit(key, time.monotonic_ns())


def _shared_processors(process: str, console: bool) -> list[Processor]:
    pid = os.getpid()

    def add_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        event["pid"] = pid
        return event

    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not console),
        add_process,
    ]
    if not console:  # the console renderer lays out exceptions itself
        processors.append(structlog.processors.format_exc_info)
    return processors
