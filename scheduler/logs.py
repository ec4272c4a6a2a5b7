"""Logging: one set-up for every process.

Code says `structlog.get_logger(__name__)`; what the standard library's loggers are given
(asyncio, aiohttp) comes out in the same form.
"""

import logging
import os
import sys

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from scheduler.config import ObservabilitySettings


def configure_logging(settings: ObservabilitySettings, process: str) -> None:
    """Send this process's events to standard error, marked with `process` and its pid.

    `process` is a name for people, as "gateway 0". Each event is one write, so that lines of
    several processes on one pipe don't mix.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared = _shared_processors(process, console)
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    # Libraries tell at INFO what our own events already say.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


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
