"""Parts of a call on a GPU, run within a budget of seconds whatever they do.

A part is a process. It may be started before its turn, to compile beside the others; it
reads on standard input when its turn begins and how many seconds that has. What it
writes to `result` is kept as it is when the part ends, or is ended. A process group
each, so that what a part has started ends with it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESERVE_S = 4.0  # of the budget, to end what is still running and keep what it wrote
_GRACE_S = 3.0  # between asking a process to end and killing it


@dataclass(frozen=True)
class Part:
    """One thing to do.

    Attributes:
        name: of the part and of what it leaves.
        arguments: of Python; the path of the result is added.
        share: of the budget. What a part leaves over, those after it may use.
        start: when its process begins, to prepare beside others: with the "call", or
            when the part of that name has ended; without it when its turn begins.
        keeps: patterns of more files that it leaves beside its result.
    """

    name: str
    arguments: tuple[str, ...]
    share: float
    start: str = ""
    keeps: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """How a part ended: `done`, `cut off`, `failed` or `not begun`, and why."""

    name: str
    state: str
    seconds: float
    why: str = ""

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"{self.name}: {self.state}, {self.seconds:.0f} s{why}"


class _Running:
    """A part's process, with its log and its result under `scratch`.

    Args:
        behind: how many parts come before it. What prepares for a later turn leaves the
            cores to those.
    """

    def __init__(self, part: Part, scratch: Path, behind: int = 0) -> None:
        self.part, self.scratch = part, scratch / part.name
        cores = self.scratch / "cores"
        cores.mkdir(parents=True, exist_ok=True)
        environment = {"PYTHONUNBUFFERED": "1", "JAXSEG_GPU_CORES": str(cores)}
        self.log, self.result = self.scratch / "log", self.scratch / "result.json"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *("nice", "-n", str(min(behind and 15 + behind, 19))),
                    *(sys.executable, *part.arguments, str(self.result)),
                ],
                env={**os.environ, **environment, **part.environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            )

    def begin(self, seconds: float) -> None:
        """Tells the process that its turn begins, and how long that is."""
        try:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; its exit status says why

    def end(self, grace_s: float) -> None:
        """Ends the process and all that it started: asked first, then killed."""
        if self.process.poll() is None and grace_s > 0:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass
        self._signal(signal.SIGKILL)  # what it left behind, too
        self.process.wait()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def failure(self) -> str:
        """Why the process ended by itself, or nothing if it ended well."""
        code = self.process.returncode
        if code == 0:
            return ""
        text = self.log.read_text(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        # XLA says with these words that memory ran out, in one line of many.
        telling = [line for line in lines if "RESOURCE_EXHAUSTED" in line] or lines[-1:]
        last = telling[0][:200] if telling else "it said nothing"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}; its last line: {last}"
        return f"exit {code}: {last}"


def run_parts(
    parts: Sequence[Part],
    folder: Path,
    scratch: Path,
    budget_s: float,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Runs `parts` in turn and returns before `budget_s` seconds have passed.

    Args:
        folder: gets `NAME.json` of every part, `summary.json` and `logs.tar.gz`.
        scratch: where processes write.
        say: called with a line per part.
    """
    start = time.monotonic()

    def left() -> float:
        return budget_s - RESERVE_S - (time.monotonic() - start)

    running: dict[str, _Running] = {}

    def start_those(after: str) -> None:
        for behind, part in enumerate(parts):
            if part.start == after and left() > 0:
                running[part.name] = _Running(part, scratch, behind)

    start_those("call")
    outcomes: list[Outcome] = []
    try:
        for part in parts:
            begun = time.monotonic()
            if left() < 1:
                outcome = Outcome(part.name, "not begun", 0.0, "no time was left")
                if early := running.get(part.name):
                    early.end(0)
            else:
                # All that is left but the shares of those that follow.
                later = sum(p.share for p in parts[parts.index(part) + 1 :])
                seconds = max(part.share * budget_s, left() - later * budget_s)
                seconds = min(seconds, left())
                if part.name not in running:
                    running[part.name] = _Running(part, scratch)
                outcome = _turn(running[part.name], seconds)
                outcome.seconds = time.monotonic() - begun
            outcomes.append(outcome)
            if problem := _keep(part, outcome, folder, scratch):
                outcome.why = f"{outcome.why}; {problem}".lstrip("; ")
                outcome.state = "failed"
            say(str(outcome))
            start_those(part.name)
    finally:
        for one in running.values():
            one.end(0)
    if problem := _keep_all(outcomes, folder, scratch):
        say(problem)
    return outcomes


def _turn(one: _Running, seconds: float) -> Outcome:
    """Gives a part its turn of `seconds`, and ends it when that is over."""
    one.begin(max(seconds - _GRACE_S, 0.5))
    try:
        one.process.wait(seconds)
        failure = one.failure()
        return Outcome(one.part.name, "failed" if failure else "done", 0.0, failure)
    except subprocess.TimeoutExpired:
        one.end(_GRACE_S)
        return Outcome(one.part.name, "cut off", 0.0, f"its {seconds:.0f} s were over")
    finally:
        one.end(0)


def _keep(part: Part, outcome: Outcome, folder: Path, scratch: Path) -> str:
    """Copies what a part wrote to `folder`; what went wrong with that, or nothing."""
    source = scratch / part.name
    found: dict[str, Any] = {}
    try:
        found = json.loads((source / "result.json").read_text())
    except (OSError, ValueError):
        pass
    record = {"part": part.name, "state": outcome.state, "why": outcome.why, **found}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{part.name}.json", json.dumps(record, indent=1) + "\n")
        for pattern in part.keeps:
            for path in sorted(source.glob(pattern)):
                shutil.copy(path, folder / path.name)
    except OSError as error:
        return f"its result could not be kept ({error.strerror} in {folder})"
    return ""


def _keep_all(outcomes: Sequence[Outcome], folder: Path, scratch: Path) -> str:
    """Writes the summary and all logs; what went wrong, or nothing."""
    summary = [vars(outcome) for outcome in outcomes]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
        with tarfile.open(folder / "logs.tar.gz", "w:gz") as logs:
            for path in sorted(scratch.glob("*/log*")):
                logs.add(path, str(path.relative_to(scratch)))
    except OSError as error:
        return f"summary and logs could not be kept ({error.strerror} in {folder})"
    return ""


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def wait_for_turn() -> "Deadline":
    """What a part calls when it has prepared all that it can before its turn."""
    line = sys.stdin.readline()
    if not line:
        sys.exit("the call ended before this part's turn")
    return Deadline(float(line))


class Deadline:
    """When a part's turn is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that remain, 0 at least."""
        return max(0.0, self._end - time.monotonic())


def save_result(path: str | Path, found: dict[str, Any]) -> None:
    """Keeps what a part has so far, whole at every moment."""
    _write(Path(path), json.dumps(found) + "\n")
