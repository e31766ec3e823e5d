"""A process that prepares by itself and then answers what it is asked."""

import fcntl
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

_MARK = "answer: "  # what libraries print in between does not begin so


class Held:
    """A process of `python -m MODULE ARGUMENTS`, started at once.

    Its first answer says that it is ready; every later one is to a question.
    """

    def __init__(
        self, module: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            if line.startswith(_MARK):
                self._answers.put(json.loads(line[len(_MARK) :]))
            else:
                print(line, end="", file=sys.stderr)
        self._answers.put(None)

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next answer; `{"error"}` if the process ended or is not done in time."""
        try:
            found = self._answers.get(timeout=max(seconds, 0))
        except queue.Empty:
            self.end()
            return {"error": f"not done after another {seconds:.0f} s"}
        if found is None:
            self._answers.put(None)  # it is so for every later question
            code = self._process.wait()
            return {"error": f"the process ended with code {code}, see the log"}
        return found

    def has_answered(self) -> bool:
        """Whether `answer` would return at once."""
        return not self._answers.empty()

    def put(self, question: dict[str, Any]) -> None:
        """Asks; the answer comes with `answer`, in the order of the questions."""
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it has ended, which `answer` says

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Asks and returns the answer; see `answer`."""
        self.put(question)
        return self.answer(seconds)

    def end(self) -> None:
        """Ends the process, if it has not ended."""
        self._process.kill()
        self._process.wait()


def reply(found: dict[str, Any]) -> None:
    """What the held process answers."""
    print(_MARK + json.dumps(found), flush=True)


@contextmanager
def core() -> Iterator[None]:
    """One of as many turns as there are cores, among all processes of a part.

    What compiles is taken one after the other where there are more programs than cores:
    beside each other all of them would be done at the very end, or not at all.
    """
    folder = Path(os.environ.get("JAXSEG_GPU_CORES", "/nowhere"))
    with ExitStack() as stack:
        if folder.is_dir():
            _take(folder, stack)
        yield


def _take(folder: Path, stack: ExitStack) -> None:
    while True:
        for number in range(os.cpu_count() or 1):
            file = (folder / str(number)).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                stack.enter_context(file)  # closing it gives the turn back
                return
        time.sleep(0.1)


def answer_questions(prepare: Callable[[], Callable[..., dict[str, Any]]]) -> None:
    """The life of a held process: `prepare`, then its result on every question."""
    answer = prepare()
    for line in sys.stdin:
        reply(answer(**json.loads(line)))
