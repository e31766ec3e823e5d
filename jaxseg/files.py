"""Files and folders that are written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file under another name, and gives it its own when it is on the disk.

    Raises:
        OSError: it cannot be written; what `path` held before is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves the name and no content
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, which takes its name when the block ends well.

    What `target` was until then is removed last; where anything fails before, also
    Ctrl-C, it stays as it was and the new folder goes.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    older = target.with_name(f".{target.name}.{os.getpid()}.older")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        for path in unfinished.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        try:
            if target.exists():
                target.rename(older)
            unfinished.rename(target)
        except BaseException:
            if older.exists() and not target.exists():
                older.rename(target)
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if target.exists():
            shutil.rmtree(older, ignore_errors=True)
