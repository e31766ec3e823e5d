"""CamVid on a GPU: which lowering trains fastest, then as many epochs as there is time.

python -m tools.gpu.training candidates PLAN RESULT
    images/s of every candidate for every network, and of PyTorch for one of them
python -m tools.gpu.training train NETWORK PLAN RESULT
    trains NETWORK with its fastest candidate; the run comes back as run-NETWORK.tar

PLAN is JSON, the fields of `Plan`. The number of epochs follows from the measured rate
and the seconds of the part, and is fixed before the first step.
"""

import json
import os
import statistics
import sys
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jaxseg.errors import UserError
from jaxseg.runtime import setup
from tools.gpu.budget import Deadline, save_result, wait_for_turn
from tools.gpu.held import Held, answer_questions, core, reply

# name: (what differs from the lowering of training, XLA's flags). XLA leaves
# convolutions out of its command buffers by default.
CANDIDATES = {
    "convolutions": ({}, ""),
    "convolutions captured": ({}, "--xla_gpu_enable_command_buffer=+CONVOLUTION"),
    "convolutions fused": ({}, "--xla_gpu_experimental_enable_conv_fusion=true"),
    "products": ({"dots": True}, ""),
}
TORCH = "torch"
_TURNS = 3
_WAITING_SHARE = 0.7  # of the turn, for those that still compile
# Of a part's seconds: the rest is for the start, the checkpoint and slower epochs.
_TRAINING_SHARE, _START_S = 0.9, 12.0


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        networks: names of recipes, in the order in which they are trained.
        data: CamVid's folder.
        split: that is trained on.
        overrides: `section.key=value` of the recipe, as JSON values.
        epochs: a number that is fixed beforehand; 0 to have it follow from the rate.
        seconds_each: what a training is given.
        candidates: of `CANDIDATES`, to be compared.
        steps: of each candidate, timed three times.
        torch: networks that PyTorch trains too, for comparison.
        torch_batch, torch_hw: with so many pictures of this size.
    """

    networks: tuple[str, ...]
    data: str
    split: str = "trainval"
    overrides: tuple[tuple[str, Any], ...] = ()
    epochs: int = 0
    seconds_each: float = 60.0
    candidates: tuple[str, ...] = tuple(CANDIDATES)
    steps: int = 20
    torch: tuple[str, ...] = ("dabnet",)
    torch_batch: int = 16
    torch_hw: tuple[int, int] = (360, 480)


def read_plan(text: str) -> Plan:
    """The plan in a JSON text."""
    given = json.loads(text)
    return Plan(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def recipe_config(plan: Plan, network: str, epochs: int) -> Any:
    """The recipe of `network` for CamVid, for a device that is left alone."""
    from importlib import import_module

    config = import_module(f"configs.{network}").get_config("camvid")
    config.model.dtype = "bfloat16"
    config.data.update(dir=plan.data, train_split=plan.split, loader="resident")
    for path, value in plan.overrides:
        section, key = path.split(".")
        config[section][key] = tuple(value) if isinstance(value, list) else value
    # Of pictures that are trained on no score means anything: eval.py gives the score.
    config.train.update(num_epochs=epochs, eval_every_epochs=0, steps_per_call=10_000)
    return config


def hold(plan: Plan, network: str, candidate: str) -> None:
    """The process of one candidate: compiles an epoch, then times steps of it."""
    setup()
    import jax

    from jaxseg import devices
    from jaxseg.benchmark.workload import draw_weights
    from jaxseg.training.recipe import build, open_data
    from jaxseg.training.step import state_of

    how, _ = CANDIDATES[candidate]
    config = recipe_config(plan, network, epochs=100)
    data = open_data(**config.data)
    recipe = build(config, len(data.source.ids(plan.split)), len(data.source.table))
    settings = recipe.settings
    split, n = data.train.arrays, len(data.train.ids)
    order = np.arange(plan.steps * settings.batch_size, dtype=np.int32) % n
    # Placed as `train` places them: other places make it another program.
    order = devices.place(order.reshape(plan.steps, -1), devices.replicated())
    with core(), _lowered(how):
        drawn = jax.tree.map(jax.numpy.asarray, draw_weights(recipe.model))
        state = devices.replicate(state_of(drawn, recipe.tx, settings.ema_decay))
        state, _ = recipe.train_epoch(state, split, order, 0, 2)
        jax.block_until_ready(state)
    reply({"ready": True})

    def answer(steps: int) -> dict[str, Any]:
        nonlocal state
        begin = time.perf_counter()
        state, metrics = recipe.train_epoch(state, split, order, 0, steps)
        loss = float(metrics["loss"][steps - 1])
        seconds = time.perf_counter() - begin
        images = steps * settings.batch_size
        return {"images_per_s": images / seconds, "loss": loss}

    answer_questions(lambda: answer)


def _lowered(how: dict[str, Any]):
    from dataclasses import replace

    from jaxseg.ops import default_lowering, lowering

    return lowering(replace(default_lowering(), **how))


def candidates(plan: Plan, result: str) -> None:
    """Starts all, times those that are ready in turn, and keeps the rates."""
    text, processes = json.dumps(asdict(plan)), {}
    for network in plan.networks:
        for candidate in plan.candidates:
            environment = _environment(CANDIDATES[candidate][1])
            arguments = "--worker", text, network, candidate
            processes[network, candidate] = _held(arguments, environment)
    for network in plan.torch:
        # There JAX writes the graph, no more.
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        processes[network, TORCH] = _held(("--torch", text, network), environment)
    deadline = wait_for_turn()
    waiting = Deadline(_WAITING_SHARE * deadline.left)
    found: dict[str, Any] = {network: {} for network, _ in processes}
    ready = {}
    for (network, name), process in processes.items():
        answer = process.answer(waiting.left)
        found[network][name] = {"images_per_s": []}
        if "error" in answer:
            found[network][name]["error"] = answer["error"]
        else:
            ready[network, name] = process
    for network in found:
        for _ in range(_TURNS):
            for name in [name for n, name in ready if n == network]:
                question = {"steps": plan.steps}
                answer = ready[network, name].ask(question, deadline.left)
                if "error" in answer or not np.isfinite(answer["loss"]):
                    ready.pop((network, name)).end()
                    error = answer.get("error", "the loss is not finite")
                    found[network][name]["error"] = error
                else:
                    rates = found[network][name]["images_per_s"]
                    rates.append(answer["images_per_s"])
        save_result(result, {"candidates": found})
    for process in processes.values():
        process.end()
    lacking = [n for n in plan.networks if fastest(found[n]) is None]
    if lacking:
        sys.exit(f"no candidate of {', '.join(lacking)} was timed; see the result")


def _held(arguments: tuple[str, ...], environment: dict[str, str]) -> Held:
    return Held("tools.gpu.training", *arguments, environment=environment)


def hold_torch(plan: Plan, network: str) -> None:
    """The process of PyTorch's step: autocast, channels_last, pictures like ours."""
    from tools.training_speed import Work, torch_step, write_graph

    with TemporaryDirectory() as folder:
        graph = f"{folder}/{network}.onnx"
        work = Work(network, plan.torch_batch, plan.torch_hw, "bfloat16", graph)
        write_graph(work)
        with core():
            step = torch_step(work)
            for _ in range(3):
                step()
    reply({"ready": True})

    def answer(steps: int) -> dict[str, Any]:
        begin = time.perf_counter()
        loss = [step() for _ in range(steps)][-1]
        images = steps * plan.torch_batch
        return {"images_per_s": images / (time.perf_counter() - begin), "loss": loss}

    answer_questions(lambda: answer)


def _environment(flags: str) -> dict[str, str]:
    every = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    return {**os.environ, **({"XLA_FLAGS": every} if every else {})}


def fastest(rates: dict[str, Any]) -> tuple[str, float] | None:
    """The candidate with the highest median rate, and that rate."""
    medians = {
        name: statistics.median(entry["images_per_s"])
        for name, entry in rates.items()
        if name != TORCH and entry["images_per_s"] and "error" not in entry
    }
    if not medians:
        return None
    best = max(medians, key=medians.get)
    return best, medians[best]


def epochs_in(seconds: float, images_per_s: float, images: int) -> int:
    """How many epochs of `images` pictures fit, 1 at least."""
    return max(1, int(_TRAINING_SHARE * (seconds - _START_S) * images_per_s / images))


def train_network(plan: Plan, network: str, result: str) -> None:
    """The process of one training: compiles, waits for its turn, and trains."""
    candidate, rate = _chosen(network, result)
    how, flags = CANDIDATES[candidate]
    if flags and flags not in os.environ.get("XLA_FLAGS", ""):
        # XLA reads its flags when it is loaded: the same process begins once more.
        os.execve(sys.executable, sys.orig_argv, _environment(flags))
    setup()
    from jaxseg.training.recipe import open_data
    from jaxseg.training.train import train

    config = recipe_config(plan, network, epochs=1)
    data = open_data(**config.data)
    batch = config.train.batch_size
    per_epoch = len(data.source.ids(plan.split)) // batch * batch
    epochs = plan.epochs or epochs_in(plan.seconds_each, rate, per_epoch)
    config.train.num_epochs = epochs
    facts = {
        "network": network,
        "candidate": candidate,
        "images_per_s": rate,
        "epochs": epochs,
        "split": plan.split,
        "images_an_epoch": per_epoch,
        "finished": False,
    }
    with _lowered(how):
        _compile(config, data)
        deadline = wait_for_turn()
        if not plan.epochs and deadline.left < plan.seconds_each:
            # Parts before it took longer than their share: fewer epochs, another
            # program.
            config.train.num_epochs = epochs_in(deadline.left, rate, per_epoch)
            facts["epochs"] = config.train.num_epochs
        save_result(result, facts)
        begin, folder = time.monotonic(), Path(result).parent / network
        _, finished = train(config, folder)
    seconds = time.monotonic() - begin
    with tarfile.open(Path(result).with_name(f"run-{network}.tar"), "w") as archive:
        archive.add(folder, network, filter=_without_optimizer)
    save_result(result, {**facts, "finished": finished, "seconds": seconds})
    if not finished:
        sys.exit(f"stopped before its {facts['epochs']} epochs were over")


def _chosen(network: str, result: str) -> tuple[str, float]:
    """The fastest candidate by the part `candidates`, and its images/s."""
    rates = Path(result).parents[1] / "candidates" / "result.json"
    try:
        found = fastest(json.loads(rates.read_text())["candidates"][network])
    except (OSError, ValueError, KeyError):
        found = None
    if found is None:
        sys.exit(f"{network} has no measured rate: the part `candidates` gave none")
    return found


def _compile(config: Any, data: Any) -> None:
    """Leaves the program of an epoch in JAX's cache, where `train` will find it."""
    from jaxseg import devices
    from jaxseg.data.loaders import epoch_order
    from jaxseg.training.recipe import build
    from jaxseg.training.step import init_state

    samples = len(data.train.ids)
    recipe = build(config, samples, len(data.source.table))
    settings = recipe.settings
    order = epoch_order(recipe.seed, 0, samples, settings.batch_size).astype(np.int32)
    state = init_state(recipe.model, recipe.tx, 0, (64, 64), settings.ema_decay)
    state, order = devices.replicate(state), devices.place(order, devices.replicated())
    recipe.train_epoch.lower(state, data.train.arrays, order, 0, len(order)).compile()


def _without_optimizer(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What a score needs: what comes back from the machine must be small."""
    parts = Path(entry.name).parts
    return None if {"optimizer", "tensorboard"} & set(parts) else entry


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        hold(read_plan(sys.argv[2]), *sys.argv[3:5])
    elif sys.argv[1:2] == ["--torch"]:
        hold_torch(read_plan(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "candidates":
        candidates(read_plan(sys.argv[2]), sys.argv[3])
    else:
        train_network(read_plan(sys.argv[3]), sys.argv[2], sys.argv[4])


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
