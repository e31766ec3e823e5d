"""Files that are written whole or not at all."""

import os
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
