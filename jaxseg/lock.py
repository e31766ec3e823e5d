"""One process per folder: a lock that the system takes back when its process dies."""

import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxseg.errors import UserError

_NAME = ".lock"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process; those that only read it need not ask.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _NAME).open("a+")
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror}); choose another "
            "--workdir."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(
                f"{folder} is being trained in by {holder}: wait for it to end, stop "
                "it, or choose another --workdir."
            ) from error
        except OSError as error:  # some file systems of clusters have no locks
            print(
                f"{folder} cannot be locked ({error.strerror}): see to it that no "
                "second process trains in it.",
                file=sys.stderr,
            )
        # The file stays: were it removed, two processes could lock two of that name.
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
