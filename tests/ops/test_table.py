"""The table of ways to compute operations: cited, and used by a network."""

from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT

from jaxseg import deploy, models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.ops import deployed_lowering, lowering
from jaxseg.ops.table import TABLE

HW = (32, 64)


def test_every_row_names_a_measurement_or_says_that_there_is_none():
    lines = (ROOT / "results" / "cpu-profile.md").read_text().splitlines()
    sections = {line.lstrip("# ") for line in lines if line.startswith("#")}
    for rows in TABLE.values():
        for row in rows:
            assert row.measured in sections or row.measured.startswith("no record")


@pytest.fixture
def used(monkeypatch) -> Counter:
    """How often each row, an operation's name and a number, was chosen."""
    chosen = Counter()

    def counted(key, compute):
        def count(*operands):
            chosen[key] += 1
            return compute(*operands)

        return count

    for name, rows in TABLE.items():
        watched = (
            replace(row, compute=counted((name, i), row.compute))
            for i, row in enumerate(rows)
        )
        monkeypatch.setitem(TABLE, name, tuple(watched))
    return chosen


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="is about rows for CPUs")
def test_every_row_for_a_cpu_is_used_by_some_network(used, monkeypatch):
    monkeypatch.setattr("jaxseg.deploy.folding.bfloat16_pays", lambda: True)
    image = jax.ShapeDtypeStruct((1, *HW, 3), jnp.float32)
    for name in ("esnet", "dabnet", "liteseg_shufflenet", "liteseg_darknet"):
        model = models.create(name)
        jax.eval_shape(
            lambda x, m=model: m.init(jax.random.key(0), x, train=False), image
        )
    for model in (
        models.DABNet(),
        models.DABNet(dtype="bfloat16"),
        models.ESNet(),
        models.FPENet(p=1, q=1),
    ):
        with lowering(deployed_lowering()):
            deployed, folded = deploy.fold(model, draw_weights(model), HW)
            deployed = deployed.clone(labels=True)
            jax.eval_shape(
                lambda v, x, m=deployed: m.apply(v, x, train=False), folded, image
            )
    of_accelerators, of_tflite = (
        {("convolution", 2), ("depthwise", 1)},
        {("transposed", 0)},
    )
    rows = {(name, i) for name in TABLE for i in range(len(TABLE[name]))}
    assert rows - set(used) == of_accelerators | of_tflite
