"""Where recipes lie, and what they share.

A recipe, `configs/esnet.py`, is a file of numbers that is loaded by its path. A wheel
has them in `jaxseg/configs/`.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def path_of(name: str) -> Path | None:
    """The recipe called `name`, such as `esnet`, or None."""
    found = (folder / f"{name}.py" for folder in _FOLDERS)
    return next((path for path in found if path.is_file()), None)
