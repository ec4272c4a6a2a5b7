"""The tree of errors of the nodes that come with the scheduler.

SchedulerError
 ├── AudioError         audio can't be read; says what is wrong and what is taken
 ├── CommandError       a command-line tool failed; has its last words
 ├── RecognizerError    a recogniser process could not be started, or it died
 ├── NoToolsError       none of the tools is installed; says how to get them
 └── TooManyNodesError  this process may not open so many connections
"""

from scheduler.errors import SchedulerError


class AudioError(SchedulerError):
    """The audio can't be read."""


class CommandError(SchedulerError):
    """A command-line tool failed."""


class RecognizerError(SchedulerError):
    """A recogniser process could not be started, or it died."""


class NoToolsError(SchedulerError):
    """None of the tools is installed."""


class TooManyNodesError(SchedulerError):
    """This process may not open so many connections."""
