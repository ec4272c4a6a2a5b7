"""Writes an archive at one stroke, readable by its user alone."""

import gzip
import io
import os
import secrets
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from scheduler.errors import BundleError

DRAFT_SUFFIX = ".new"
"""Of files being written; one that was left is of a process that was killed."""


class Member(NamedTuple):
    """A file in the archive."""

    name: str
    data: bytes


def write_archive(
    path: Path, members: Iterable[Member], *, time_s: int, replace: bool = False
) -> int:
    """Write a gzipped tar file of mode 0600 and return its size; the same input, the same bytes.

    `time_s` is the time of all members, in seconds since the epoch. What stands at `path`, a link
    too, is replaced if `replace` says so, and never written through. Raises BundleError where it
    can't be written.
    """
    if not replace and os.path.lexists(path):
        raise BundleError(f"{path} is there already; name another file, or use --force")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT_SUFFIX}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(draft, flags, 0o600)
        try:
            with open(fd, "wb") as file:
                _write(file, members, time_s)
                size_bytes = file.tell()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BundleError(f"can't write {path}: {error.strerror}") from error
    return size_bytes


def _write(file: io.BufferedWriter, members: Iterable[Member], time_s: int) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=time_s) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.mtime, info.mode = len(member.data), time_s, 0o600
            archive.addfile(info, io.BytesIO(member.data))
