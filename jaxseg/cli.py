"""How commands start: flags, help, and one sentence for a user's mistake."""

import os
import re
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from absl import flags

from jaxseg import recipes
from jaxseg.errors import UserError

COMMANDS = {
    "check": "looks a data set over",
    "train": "trains a network",
    "eval": "scores a run",
    "predict": "segments pictures and videos",
    "demo": "opens a page to look at",
    "export": "writes a network for other runtimes, checked",
    "convert": "makes runs of others' weights, and files for others",
    "benchmark": "times the networks, beside other runtimes",
    "reproduce": "sets the papers' tables beside what is ours",
    "doctor": "looks this machine over",
}


def main() -> None:
    """`jaxseg COMMAND ...`, what `python COMMAND.py ...` is in a clone."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print("usage: jaxseg COMMAND [--flags]; jaxseg COMMAND --help says which\n")
        print(*(f"  {name:10} {does}" for name, does in COMMANDS.items()), sep="\n")
        return
    if name not in COMMANDS:
        there = ", ".join(COMMANDS)
        _end(2, f"error: there is no command {name!r}; there are: {there}.")
    sys.argv[:2] = [f"jaxseg {name}"]
    room = "jaxseg" if name == "doctor" else "jaxseg.commands"
    run(import_module(f"{room}.{name}"))


def command(name: str) -> str:
    """How a person calls a command the way that this one was called."""
    installed = sys.argv[0].startswith("jaxseg ")
    return f"jaxseg {name}" if installed else f"python {name}.py"


def run(module: ModuleType) -> None:
    """Parses the command line into absl's flags and calls `module.main`.

    `--help` prints the module's docstring, its flags and `module.choices()`, if it has
    that, with which a key that the config does not have is answered too. A `UserError`,
    from the command line or from `main`, ends the process with one line and exit code
    2, and so does what the operating system refuses and memory that does not suffice;
    Ctrl-C with 130 and SIGTERM with 143. Arguments that are no flags go to a `main`
    whose module says with `ARGUMENTS` what they are.
    """
    sys.unraisablehook = _report
    signal.signal(signal.SIGTERM, _terminate)
    choices = getattr(module, "choices", list)
    if {"-h", "-help", "--help"} & set(sys.argv[1:]):
        own = module.__name__.split(".")[-1]
        print((module.__doc__ or "").replace(f"python {own}.py", command(own)))
        print(flags.FLAGS.module_help(module).strip())
        print(*choices(), sep="\n")
        sys.exit(0)
    try:
        rest = _parse(sys.argv, choices)
        if hasattr(module, "ARGUMENTS"):
            module.main(rest)
        elif rest:
            sentence = f"nothing is done with the argument {rest[0]!r}; try --help."
            raise UserError(sentence)
        else:
            module.main()
    except (UserError, OSError) as error:
        _end(getattr(error, "exit_code", 2), f"error: {error}")
    except KeyboardInterrupt as stopped:
        _end(143 if isinstance(stopped, _Terminated) else 130, "")
    except (MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        # XLA's own error is a RuntimeError; of which kind only its text says.
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in text:
            raise
        _end(2, f"error: {_OUT_OF_MEMORY} ({text[:200] or 'MemoryError'}).")


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: what is half done goes, as after Ctrl-C."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


_OUT_OF_MEMORY = (
    "the memory does not suffice; take a smaller batch (training: "
    "--config.train.batch_size, --config.train.eval_batch_size), smaller crops or "
    "pictures, or end what else uses the device"
)


def _end(code: int, line: str) -> None:
    print(line, end="\n" if line else "", file=sys.stderr, flush=True)
    sys.stdout.flush()
    # Not sys.exit: threads of a failed save would add tracebacks of their own.
    os._exit(code)


def _report(unraisable) -> None:
    # When a save fails, Orbax closes its event loop with writes under way, and
    # TensorStore hands this hook one such error for each of them.
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _parse(argv: list[str], choices: Callable[[], list[str]]) -> list[str]:
    """What is left of the command line when the flags are taken."""
    try:
        return flags.FLAGS(_with_paths(argv))[1:]
    except UserError:
        raise
    # ml_collections reports what is wrong with a config as many kinds of errors.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        known = choices() if isinstance(error, AttributeError | KeyError) else []
        raise UserError(" ".join([_sentence(error), *known])) from error


def _with_paths(argv: list[str]) -> list[str]:
    """`--config esnet:camvid` with the path of the recipe, which absl loads."""
    given = list(argv)
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        before = argv[i - 1] if i else ""
        if not equals and before.lstrip("-") == "config" != before:
            flag, value = "", argument
        elif flag.lstrip("-") != "config":
            continue
        name, colon, data = value.partition(":")
        if path := recipes.path_of(name):
            given[i] = f"{flag}{equals}{path}{colon}{data}"
    return given


def _sentence(error: Exception) -> str:
    text = str(error)
    if isinstance(error, AttributeError | KeyError):  # of a ConfigDict
        key, meant = re.findall(r"\w+", text), re.search(r'mean "(\w+)"', text)
        hint = f"did you mean {meant[1]!r}?" if meant else "nothing would read it."
        return f"the config has no key {''.join(key[:1])!r}; {hint}"
    missing = re.search(r"Flag (--\w+) must have a value other than None", text)
    if missing:
        return f"{missing[1]} is missing; try --help."
    # Where the config file itself raised, the text is that of a traceback.
    raised = re.findall(r"^\s*[\w.]*Error: (.*)$", text, re.MULTILINE)
    if "Traceback" in text and raised:
        return raised[-1]
    return f"{' '.join(text.split())}; try --help."


def step_name(value: str) -> str | int:
    """`best`, `last`, or a step as a number.

    Raises:
        UserError: it is none of these.
    """
    if value in ("best", "last"):
        return value
    if value.isdigit():
        return int(value)
    raise UserError(f"--step is {value!r}; it can be best, last or a step.")


def config_file() -> Path:
    """The file that `--config` names.

    Raises:
        UserError: the flag is missing, or there is no such file.
    """
    from ml_collections import config_flags

    if not flags.FLAGS["config"].present:
        raise UserError("--config is missing, e.g. --config configs/esnet.py")
    given = config_flags.get_config_filename(flags.FLAGS["config"])
    path = Path(given.split(":")[0])
    if not path.is_file():
        raise UserError(f"--config: there is no file {path}.")
    return path
