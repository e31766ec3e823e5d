"""A training step of every network beside PyTorch's: results/training-speed.md.

python -m tools.training_speed results/training-speed.md [--batch 4] [--size 256x512]
    [--dtype float32] [NETWORK ...]

PyTorch trains the same network: the graph that `export_onnx` makes of it as it is
trained, converted by onnx2torch (jaxseg's extra `peers`). Each side runs in processes
of its own, with the same allocator; they take turns, a few steps each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.progress import Progress

from jaxseg import models, runtime
from jaxseg.benchmark.runtimes import import_torchvision, threads
from jaxseg.benchmark.workload import draw_images
from streets import draw_scene

ROUNDS, TURNS, STEPS = 3, 4, 2  # fresh processes, turns of each, steps of a turn
RATE = 1e-3
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 58.0, 57.0)

Step = Callable[[], float]  # returns the loss


@dataclass(frozen=True)
class Work:
    """What both sides train: `network` on `batch` pictures of `hw` in `dtype`.

    Attributes:
        graph: the ONNX file that our side writes and PyTorch reads.
    """

    network: str
    batch: int
    hw: tuple[int, int]
    dtype: str
    graph: str

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Street scenes, uint8 `(b, h, w, 3)`, and labels `(b, h, w)` that go on."""
        h, w = self.hw
        drawn = h + -h % 8, max(128, w + -w % 8)
        labels = [draw_scene(seed % 4, drawn)[1][:h, :w] for seed in range(self.batch)]
        return draw_images(self.hw, self.batch)[0], np.stack(labels) % 19


def write_graph(work: Work) -> None:
    """Writes the network as it is trained, with weights drawn as a training draws."""
    import jax
    import optax

    from jaxseg.data.preprocess import Preprocess
    from jaxseg.deploy.onnx import export_onnx
    from jaxseg.training.step import init_state

    model = models.create(work.network)
    state = init_state(model, optax.identity(), 0, work.hw)
    exported = export_onnx(
        model,
        jax.device_get(state.trained),
        Preprocess(MEAN, STD),
        work.hw,
        "logits",
        batch=work.batch,
        trainable=True,
    )
    Path(work.graph).write_bytes(exported.SerializeToString())


def jaxseg_step(work: Work) -> Step:
    """A jitted step of the network, with its dropout; and writes the graph."""
    runtime.setup()
    import jax
    import optax

    from jaxseg.data.preprocess import Preprocess
    from jaxseg.training.losses import CrossEntropy
    from jaxseg.training.step import init_state

    model, preprocess = models.create(work.network), Preprocess(MEAN, STD)
    loss, tx = CrossEntropy(), optax.adam(RATE)
    state = init_state(model, tx, 0, work.hw)
    if not Path(work.graph).exists():
        write_graph(work)
    model = model.clone(dtype=work.dtype)

    def step(state, image, label):
        def loss_fn(params):
            logits, updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                preprocess(image),
                train=True,
                rngs={"dropout": jax.random.fold_in(jax.random.key(0), state.step)},
                mutable=["batch_stats"],
            )
            return loss(logits, label)[0], updated["batch_stats"]

        grad = jax.value_and_grad(loss_fn, has_aux=True)
        (value, statistics), gradient = grad(state.params)
        updates, opt_state = tx.update(gradient, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        moved = dict(params=params, batch_stats=statistics, opt_state=opt_state)
        return state.replace(step=state.step + 1, **moved), value

    image, label = map(jax.device_put, work.samples())
    step = jax.jit(step, donate_argnums=0)

    def run() -> float:
        nonlocal state
        state, value = step(state, image, label)
        return float(value)

    return run


def torch_step(work: Work) -> Step:
    """The same in PyTorch, channels_last; but the graph has no dropout, and onnx2torch
    makes constants of PReLU's slopes."""
    runtime.tune_allocator()
    import torch

    import_torchvision()
    from onnx2torch import convert

    torch.set_num_threads(threads())
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = convert(work.graph).to(device, memory_format=torch.channels_last).train()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms[0].num_features == 3  # what subtracts the mean of the pictures
    norms[0].eval()
    for norm in norms[1:]:
        norm.eps, norm.momentum = 1e-3, 0.1
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    norms[0].requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    image, label = (torch.from_numpy(a.copy()).to(device) for a in work.samples())
    label, rounded = label.long(), work.dtype == "bfloat16"

    def run() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, rounded):
            logits = network(image).permute(0, 3, 1, 2)
        loss = torch.nn.functional.cross_entropy(logits.float(), label)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


SIDES = {"jaxseg": jaxseg_step, "torch": torch_step}


def worker(side: str, work: Work) -> None:
    """Does as many steps as each line of standard input says, and prints their ms."""
    step = SIDES[side](work)
    losses = [step() for _ in range(3)]
    print(json.dumps(losses), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            losses.append(step())
            times.append(1e3 * (time.perf_counter() - begin))
        assert np.isfinite(losses).all()
        print(json.dumps(times), flush=True)


def compare(work: Work) -> dict[str, list[list[float]]]:
    """Of each side: the steps' ms, a list a process."""
    found: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    for _ in range(ROUNDS):
        processes = {}
        for side in SIDES:
            command = [sys.executable, "-m", "tools.training_speed", "--worker"]
            processes[side] = subprocess.Popen(
                [*command, side, json.dumps(asdict(work))],
                # Both sides hold what they need of a GPU's memory, and no more.
                env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if not processes[side].stdout.readline():
                raise SystemExit(f"{side} could not train {work.network}: see above.")
            found[side].append([])
        for _ in range(TURNS):
            for side, process in processes.items():
                process.stdin.write(f"{STEPS}\n")
                process.stdin.flush()
                found[side][-1] += json.loads(process.stdout.readline())
        for process in processes.values():
            process.stdin.close()
            process.wait()
    return found


def device() -> str:
    """The GPU that JAX has, else the processor."""
    import jax

    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    cpu = "an unnamed processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(": ")[1] for line in lines if "model name" in line)
    return f"{threads()} cores of {cpu}"


def report(names: list[str], batch: int, hw: tuple[int, int], dtype: str) -> str:
    """`results/training-speed.md`."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Progress() as bar:
        for name in bar.track(names):
            found = compare(Work(name, batch, hw, dtype, f"{folder}/{name}.onnx"))
            ours, torch = (
                statistics.median(map(statistics.median, found[side])) for side in SIDES
            )
            least = [min(min(times) for times in found[side]) for side in SIDES]
            bar.print(f"{name}: {ours:.0f} and {torch:.0f} ms")
            rows.append(
                f"| {name} | {ours:.0f} | {torch:.0f} | {ours / torch:.2f} | "
                f"{least[0]:.0f} | {least[1]:.0f} | {least[0] / least[1]:.2f} |"
            )
    versions = ", ".join(f"{p} {version(p)}" for p in ("jax", "torch", "onnx2torch"))
    return f"""# A training step beside PyTorch's

Forward, backward and Adam, {dtype}, batch {batch} of {hw[0]}x{hw[1]}, 19 classes, on
{device()}; {versions}; {time.strftime("%Y-%m-%d")}.
ms a step: medians over {ROUNDS} processes of a side's medians of {TURNS * STEPS} steps,
taken in turns, and the least of all steps. PyTorch, channels_last, trains the graph
that `export_onnx(trainable=True)` makes of the network, converted by onnx2torch: it has
no dropout, and PReLU's slopes are constants. Ours has both. Both have the tuned
allocator. No step augments its pictures. Made by
`python -m tools.training_speed {" ".join(sys.argv[1:])}`.

| network | jaxseg | PyTorch | ratio | least: jaxseg | PyTorch | ratio |
|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}
"""


def size(text: str) -> tuple[int, int]:
    """Height and width of "512x1024"."""
    h, w = map(int, text.split("x"))
    return h, w


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=size, default="256x512")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    flags = parser.parse_intermixed_args()
    if unknown := set(flags.networks) - set(models.names()):
        parser.error(f"no network is called {', '.join(unknown)}")
    names = flags.networks or models.names()
    flags.output.write_text(report(names, flags.batch, flags.size, flags.dtype))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], Work(**json.loads(sys.argv[3])))
    else:
        main()
