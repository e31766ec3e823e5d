"""What there is to do when a GPU is at hand, most valuable first.

python -m tools.gpu_run FOLDER [PART ...]

Each part is a process of its own, with its log and its results in FOLDER as it ends;
a part that fails does not keep the next from running. Parts: see `PARTS`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

SIZES = ["512x1024", "1024x2048", "360x640", "360x480"]
LATENCY = ["benchmark.py", "--check", "--dtypes", "float32,tf32,bfloat16"]
STEP = ["-m", "tools.training_speed"]


def parts(folder: Path) -> dict[str, list[str]]:
    """Name -> the arguments of Python, in order of value."""
    tests = [
        "tests/models",
        "tests/training/test_step.py",
        "tests/training/test_losses.py",
    ]
    found = {
        "tests": ["-m", "pytest", "-n", "0", "-m", "not slow", *tests],
        "latency": [
            *LATENCY,
            "--output",
            f"{folder}/gpu-latency",
            "--sizes",
            ",".join(SIZES),
        ],
        "lowerings": ["-m", "tools.lowerings", f"{folder}/gpu-lowerings.md"],
        "latency-batch8": [*LATENCY, "--output", f"{folder}/gpu-latency-batch8"],
    }
    found["latency-batch8"] += ["--sizes", SIZES[0], "--batch", "8"]
    for size in (SIZES[3], SIZES[0]):
        for batch in (8, 16, 32):
            name = f"gpu-training-{size}-batch{batch}"
            options = ["--size", size, "--batch", str(batch), "--dtype", "bfloat16"]
            found[name] = [*STEP, f"{folder}/{name}.md", *options]
    return found


def main(folder: Path, chosen: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    every = parts(folder)
    if unknown := set(chosen) - set(every):
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(every)}.")
    for name in chosen or every:
        begin = time.monotonic()
        # Tests compare with float32; a GPU's products are TF32 by default.
        precision = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
        with (folder / f"{name}.log").open("w") as log:
            done = subprocess.run(
                [sys.executable, *every[name]],
                env={**os.environ, **(precision if name == "tests" else {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        took = time.monotonic() - begin
        print(f"{name}: exit {done.returncode}, {took:.0f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
