"""A chart of a report, however it was drawn."""

from msgspec import Struct


class Chart(Struct, frozen=True):
    """`name` is that of its file without .png, `caption` says what is seen."""

    name: str
    title: str
    caption: str
    png: bytes
