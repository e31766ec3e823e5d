"""An exported network in a process of its own, as whoever is given it will run it."""

import os
import subprocess
import sys
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from jaxseg.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]


class Apart:
    """`open_engine(path)` in a fresh process, for the length of a `with` block.

    Attributes:
        name, hw, batch, output: the engine's.
    """

    def __init__(self, path: Path) -> None:
        ours, theirs = Pipe()
        paths = str(_ROOT), os.environ.get("PYTHONPATH")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # Of a GPU this process has its share already.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(path), str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the one that waits for it
        )
        theirs.close()
        self._connection = ours

    def __enter__(self) -> "Apart":
        try:
            about = self._received()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.name, self.hw, self.batch, self.output = about
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The engine's output, and the milliseconds that it took there.

        Raises:
            UserError: the engine refused the pictures, or its process ended.
        """
        self._connection.send(image)
        return self._received()

    def _received(self) -> Any:
        try:
            found = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            code = self._process.wait()
            raise UserError(
                f"the engine's process ended with code {code} and said nothing."
            ) from error
        if isinstance(found, str):
            raise UserError(found)
        return found


def _serve(path: str, connection: Connection) -> None:
    """Answers pictures with outputs until the other end is closed."""
    from jaxseg.deploy.engines import open_engine

    try:
        engine = open_engine(path)
        connection.send((engine.name, engine.hw, engine.batch, engine.output))
        while True:
            image = connection.recv()
            begin = time.perf_counter()
            found = engine(image)
            connection.send((found, 1e3 * (time.perf_counter() - begin)))
    except EOFError:
        return
    except Exception as error:  # whatever it was, it is told where somebody waits
        connection.send(" ".join(str(error).split()) or repr(error))


if __name__ == "__main__":
    _serve(sys.argv[1], Connection(int(sys.argv[2])))
