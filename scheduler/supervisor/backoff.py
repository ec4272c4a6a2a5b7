"""How long a child stays away that dies again and again, and that others can do without. Pure."""


class Backoff:
    """The first restart is at once, those after it wait, each twice as long."""

    def __init__(self, first_ns: int, longest_ns: int) -> None:
        self._first_ns = first_ns
        self._longest_ns = longest_ns
        self._next_ns = 0

    def wait_ns(self, served_ns: int) -> int:
        """Return how long to wait now that one died that had served for `served_ns`.

        Who served longer than the longest wait is not dying again and again.
        """
        if served_ns > self._longest_ns:
            self._next_ns = 0
        wait_ns = self._next_ns
        self._next_ns = min(max(2 * wait_ns, self._first_ns), self._longest_ns)
        return wait_ns
