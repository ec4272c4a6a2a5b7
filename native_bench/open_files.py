"""How many files a process may have open: each socket is one."""

import resource


def allow_open_files() -> None:
    """Allow this process as many as the machine lets it have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
