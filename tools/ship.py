"""Makes a run's best weights ship: python -m tools.ship RUN NAME

Writes jaxseg/weights/NAME/: the weights, the run's record, and the commit that the run
was trained with (--commit, by default the one that is checked out).
"""

import argparse
import subprocess
from pathlib import Path

import jax

from jaxseg import weights
from jaxseg.errors import UserError
from jaxseg.runs import Run

_NOTE = "CamVid is for research: so are weights that were trained on it."


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--commit", default="HEAD")
    flags = parser.parse_args()
    try:
        run = Run(flags.run)
        variables, step = run.variables("best")
    except UserError as error:
        parser.exit(2, f"error: {error}\n")
    found = subprocess.run(
        ["git", "rev-parse", flags.commit], capture_output=True, text=True, check=True
    )
    record = {**run.record, "scores": {"best": run.record["scores"]["best"]}}
    record["config"]["data"]["dir"] = ""  # of the machine that trained
    about = dict(commit=found.stdout.strip(), note=_NOTE)
    folder = Path(weights.__file__).parent / flags.name
    weights.write(folder, record, jax.device_get(variables), **about)
    size = 1e-6 * (folder / weights.FILE).stat().st_size
    print(f"{folder}: step {step}, {size:.1f} MB")


if __name__ == "__main__":
    main()
