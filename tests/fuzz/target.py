"""What a fuzzer works on."""

from typing import Protocol


class Target(Protocol):
    """Takes any bytes. Whatever it raises is a finding; it promises to raise nothing."""

    def seeds(self) -> list[bytes]:
        """Return inputs that reach far, made from real messages; mutations begin with them."""

    def tokens(self) -> list[bytes]:
        """Return pieces that mean something, for mutations to put in."""

    def run(self, data: bytes) -> None:
        """Work on one input, independent of those before it."""

    def close(self) -> None:
        """Free everything, and check that there is nothing else."""
