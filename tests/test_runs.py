"""What a run folder says of itself, and what it is not taken for."""

import json

import pytest

from jaxseg.data.classes import CAMVID, CITYSCAPES
from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError
from jaxseg.runs import Run, describe

MODEL = {"name": "dabnet", "num_classes": 19}


def record(data):
    config = {"data": {"name": data}}
    return describe(MODEL, CITYSCAPES, Preprocess(input_scale=0.5), config)


def test_a_run_reads_what_it_wrote(tmp_path):
    Run.start(tmp_path, record("streets"))
    run = Run(tmp_path)
    assert run.preprocess == Preprocess(input_scale=0.5)
    assert run.table == CITYSCAPES and run.record["init_from"] is None
    assert run.model().num_classes == 19


def test_a_network_with_lists_among_its_arguments_can_be_jitted(tmp_path):
    """JSON has no tuples, and what jit takes as static must be hashable."""
    arguments = {"name": "dabnet", "num_classes": 11, "dilations1": (2,)}
    Run.start(tmp_path, describe(arguments, CAMVID, Preprocess(), {}))
    model = Run(tmp_path).model()
    assert model.dilations1 == (2,) and hash(model) == hash(model)


@pytest.mark.parametrize(
    "network", [{"name": "fpenet", "dilations1": [2]}, {"name": "dapnet"}, {}, None]
)
def test_a_record_of_no_network(tmp_path, network):
    Run.start(tmp_path, record("streets"))
    written = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(written | {"model": network}))
    with pytest.raises(UserError, match="run.json names a network that there is not"):
        Run(tmp_path)


def test_a_run_on_another_data_set_with_the_same_classes_is_refused(tmp_path):
    Run.start(tmp_path, record("streets"))
    Run.start(tmp_path, record("streets"))
    with pytest.raises(UserError, match="data set: name is 'streets' there and 'citys"):
        Run.start(tmp_path, record("cityscapes"))
