"""How the scripts start: flags, help, and one sentence for a user's mistake."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from jaxseg.errors import UserError


def run(
    main: Callable[[], None], choices: Callable[[], list[str]] = lambda: []
) -> None:
    """Parses the command line into absl's flags and calls `main`.

    `--help` prints the script's docstring, its flags and `choices()`, which a key that
    the config does not have is answered with too. A `UserError`, from the command line
    or from `main`, ends the process with one line and exit code 2, and so does what the
    operating system refuses and memory that does not suffice; Ctrl-C with 130.
    """
    sys.unraisablehook = _report
    if {"-h", "-help", "--help"} & set(sys.argv[1:]):
        print(sys.modules["__main__"].__doc__)
        print(flags.FLAGS.main_module_help().strip())
        print(*choices(), sep="\n")
        sys.exit(0)
    try:
        _parse(sys.argv, choices)
        main()
    except (UserError, OSError) as error:
        _end(2, f"error: {error}")
    except KeyboardInterrupt:
        _end(130, "")
    except (MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        # XLA's own error is a RuntimeError; of which kind only its text says.
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in text:
            raise
        _end(2, f"error: {_OUT_OF_MEMORY} ({text[:200] or 'MemoryError'}).")


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


def _parse(argv: list[str], choices: Callable[[], list[str]]) -> None:
    try:
        rest = flags.FLAGS(argv)[1:]
    except UserError:
        raise
    # ml_collections reports what is wrong with a config as many kinds of errors.
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        known = choices() if isinstance(error, AttributeError | KeyError) else []
        raise UserError(" ".join([_sentence(error), *known])) from error
    if rest:
        raise UserError(f"nothing is done with the argument {rest[0]!r}; try --help.")


def _sentence(error: Exception) -> str:
    text = str(error)
    if isinstance(error, AttributeError | KeyError):  # of a ConfigDict
        key, meant = re.search(r"\w+", text), re.search(r'mean "(\w+)"', text)
        hint = f"did you mean {meant[1]!r}?" if meant else "nothing would read it."
        return f"the config has no key {key[0]!r}; {hint}"
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
