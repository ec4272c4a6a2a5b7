"""Text within a number of bytes."""


def cut_utf8(text: str, bytes_max: int) -> str:
    """Return the beginning of `text` that fits `bytes_max` bytes of UTF-8, in whole characters.

    What UTF-8 can't hold, as in the names of some files, becomes a question mark.
    """
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")
