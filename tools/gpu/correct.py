"""Whether a device computes what the authors' code and a CPU compute.

python -m tools.gpu.correct PLAN RESULT, where PLAN is JSON: `networks`, `reference`
(the folder of recorded outputs) and `inputs`, of `tools.parity.INPUTS`.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.runtime import setup
from tools.gpu.budget import Deadline, save_result, wait_for_turn
from tools.gpu.held import Held, answer_questions, core, reply
from tools.parity import TOLERANCE, Reference

# Of the largest magnitude. bfloat16 has 8 bits: what its products and maps lose, most
# in MobileNetV2 (0.10 on a CPU).
BFLOAT16_TOLERANCE = 0.2
# Of what a step changes: gradients are sums over all pixels, in another order. ESNet's
# grow a hundredfold from head to stem, and their rounding with them: 1.1e-2 between two
# ways to compute them on one CPU.
STEP_TOLERANCE = 5e-2
CHECKS = ("float32", "deployed", "bfloat16", "step", "restored")


def check(name: str, reference: Path, inputs: list[str]) -> None:
    """The process of one network: a reply for each of `CHECKS`, when asked."""
    setup()
    import jax

    recorded = Reference(reference, name)
    kinds = {
        "float32": partial(_outputs, recorded, inputs),
        "deployed": partial(_deployed, recorded, inputs[0]),
        "bfloat16": partial(_bfloat16, recorded, inputs[0]),
        "step": partial(_step, name),
        "restored": partial(_restored, name),
    }
    jax.devices()
    reply({"ready": True})

    def result(kind: str) -> dict[str, Any]:
        with core():
            begin = time.monotonic()
            try:
                found = kinds[kind]()
            except (
                Exception
            ) as error:  # The other checks are worth having all the same.
                found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:300]}
            return {**found, "seconds": time.monotonic() - begin}

    # It is compiling that takes the time, which threads do beside each other; with few
    # cores in the order in which the checks are worth having.
    threads = max(1, (os.cpu_count() or 1) // len(models.names()))
    with ThreadPoolExecutor(threads) as pool:
        found = {kind: pool.submit(result, kind) for kind in kinds}
        answer_questions(lambda: lambda kind: found[kind].result())


def _outputs(recorded: Reference, inputs: list[str]) -> dict[str, Any]:
    """The largest error of the network as it is trained, of the recorded magnitude."""
    import jax

    model = models.create(recorded.name)
    with jax.default_matmul_precision("highest"):
        share = max(recorded.compare(model, key).share for key in inputs)
    return {"share": share, "ok": share < TOLERANCE}


def _deployed(recorded: Reference, key: str) -> dict[str, Any]:
    """The same of the network as `Predictor` runs it."""
    import jax

    share = _folded_share(recorded, key, jax.numpy.float32, "highest")
    return {"share": share, "ok": share < TOLERANCE}


def _bfloat16(recorded: Reference, key: str) -> dict[str, Any]:
    """The same in bfloat16."""
    import jax

    share = _folded_share(recorded, key, jax.numpy.bfloat16, None)
    return {"share": share, "ok": share < BFLOAT16_TOLERANCE}


def _folded_share(recorded: Reference, key: str, dtype: Any, precision: Any) -> float:
    import jax

    from jaxseg.deploy import fold
    from jaxseg.ops import deployed_lowering, lowering

    image = recorded.image(key)
    model = models.create(recorded.name, dtype=dtype)
    with lowering(deployed_lowering()), jax.default_matmul_precision(precision):
        folded, variables = fold(model, recorded.converted[0], image.shape[1:3])
        run = jax.jit(partial(folded.apply, train=False))
        logits = np.asarray(run(variables, image.astype(dtype)), np.float32)
    error, largest = recorded.error(key, logits)
    return error / largest


@contextmanager
def _on_cpu():
    """The textbook's arithmetic, on the processor."""
    import jax

    from jaxseg.ops import Lowering, lowering

    with lowering(Lowering("textbook")), jax.default_device(jax.devices("cpu")[0]):
        yield


def _step(name: str) -> dict[str, Any]:
    """A training step here and on the CPU, from the same weights and pictures.

    Compared are what the step added to the parameters and to the batch statistics: the
    norm of the difference, of the norm.
    """
    before, here, loss = _trained(name)
    with _on_cpu():
        _, there, expected = _trained(name)
    share = 0.0
    for kind in before:
        a, b, start = (_flat(state[kind]) for state in (here, there, before))
        share = max(share, float(np.linalg.norm(a - b) / np.linalg.norm(b - start)))
    ok = share < STEP_TOLERANCE and abs(loss - expected) < 1e-4 * expected
    return {"share": share, "losses": [loss, expected], "ok": ok}


def _flat(tree: Any) -> np.ndarray:
    import jax

    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _trained(name: str) -> tuple[Any, Any, float]:
    """Weights before and after a step on noise of 64x64, and the loss."""
    import jax
    import optax

    from jaxseg.data.augment import Augment
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.training.losses import CrossEntropy
    from jaxseg.training.step import make_train_step, state_of

    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8),
        "label": rng.integers(0, 19, (2, 64, 64), dtype=np.uint8),
    }
    model, tx = models.create(name), optax.sgd(1e-2)
    augment = Augment((64, 64), scale=(1.0, 1.0), flip=False)
    step = make_train_step(model, tx, CrossEntropy(), augment, Preprocess(), seed=0)
    with jax.default_matmul_precision("highest"):
        state = state_of(jax.tree.map(jax.numpy.asarray, draw_weights(model)), tx, 0.0)
        before = jax.device_get(state.trained)
        state, metrics = step(state, batch)
    return before, jax.device_get(state.trained), float(metrics["loss"])


def _restored(name: str) -> dict[str, Any]:
    """Whether a checkpoint gives back the bits that were on the device."""
    import jax

    from jaxseg import checkpoints

    state = {"variables": jax.device_put(draw_weights(models.create(name)))}
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: x.update(sharding=here), jax.eval_shape(lambda: state)
    )
    with TemporaryDirectory() as folder:
        with checkpoints.Checkpoints(Path(folder), 1) as kept:
            kept.save(1, {**state, "optimizer": {"step": 1}}, None, {})
            kept.wait()
        back = checkpoints.read(Path(folder), 1, like)
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True)
    same = all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
    return {"ok": same}


def main() -> None:
    plan, result = json.loads(sys.argv[1]), sys.argv[2]
    arguments = {
        name: ("--worker", name, plan["reference"], json.dumps(plan["inputs"]))
        for name in plan["networks"]
    }
    workers = {
        name: Held("tools.gpu.correct", *given) for name, given in arguments.items()
    }
    deadline: Deadline = wait_for_turn()
    found: dict[str, dict[str, Any]] = {name: {} for name in workers}
    save_result(result, {"networks": found})
    alive = {
        name: worker
        for name, worker in workers.items()
        if "error" not in worker.answer(deadline.left)
    }
    for kind in CHECKS:
        for worker in alive.values():
            worker.put({"kind": kind})
    left = {name: list(CHECKS) for name in alive}
    while any(left.values()) and deadline.left > 1:
        time.sleep(0.1)
        for name in [
            name for name in left if left[name] and alive[name].has_answered()
        ]:
            found[name][left[name].pop(0)] = alive[name].answer(0)
            save_result(result, {"networks": found})
    wrong = [
        f"{name} {kind}"
        for name, kinds in found.items()
        for kind in CHECKS
        if not kinds.get(kind, {}).get("ok")
    ]
    if wrong:
        sys.exit(f"not right or not done: {', '.join(wrong)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        check(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        main()
