"""Makes memory, sockets and pipes; spawns, watches and restarts every other process."""
