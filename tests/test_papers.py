"""The papers' tables: all rows are there, and ours beside them is right."""

import importlib
import json

import pytest
from conftest import ROOT, run, shared_or_skip

from jaxseg import models, papers
from jaxseg.errors import UserError


def test_every_row_of_every_table_is_named():
    tables = json.loads(shared_or_skip("reference", "paper_tables.json").read_text())
    every = papers.rows()
    assert len({row.name for row in every}) == len(every)
    printed = sorted(row.figures["miou"] for row in every if "miou" in row.figures)
    found = []
    for table in tables["tables"]:
        for row in table["rows"] if table.get("kind") is None else ():
            keys = ("miou", "class_miou", "cityscapes_test_miou", "camvid_test_miou")
            found += [row[key] for key in keys if row.get(key) is not None]
            if table["id"] == "LiteSeg/I":
                found += [row[b][0] for b in ("darknet", "mobilenet", "shufflenet")]
    assert printed == sorted(found)


def test_counts_are_the_papers_where_they_round_to_them():
    for row in papers.rows():
        # LiteSeg's paper counts otherwise (results/parity.md).
        known = row.network is not None and not row.network.startswith("liteseg")
        if known and "params_m" in row.figures:
            (ours,) = (f for f in papers.figures(row, ROOT) if f.what == "params_m")
            assert abs(ours.difference) < 0.03, row.name


def test_arguments_are_those_of_the_network_and_of_its_recipe():
    for row in papers.rows():
        if row.network is not None:
            module = importlib.import_module(f"configs.{row.network}")
            config = module.get_config(row.dataset or "cityscapes")
            for key, value in row.arguments.items():
                value = tuple(value) if isinstance(value, list) else value
                # What the command line converts to.
                assert config.model.get_type(key) is type(value)
                config.model[key] = value
            model = models.create(**config.model)
            for key, value in row.arguments.items():
                value = tuple(value) if isinstance(value, list) else value
                assert getattr(model, key) == value


def test_scores_and_speeds_are_looked_up(tmp_path):
    (row,) = papers.find("dabnet/table4/dabnet")
    figures = {figure.what: figure for figure in papers.figures(row, tmp_path)}
    assert figures["miou"].paper == 66.4 and figures["miou"].ours is None
    assert "train_split=trainval" in figures["miou"].command
    assert figures["miou"].command.endswith("--split test --step last")
    report = {
        "header": {"device": "cpu", "cpu": "a processor"},
        "rows": [
            {
                "model": "dabnet",
                "size": "512x1024",
                "dtype": "float32",
                "runtime": "jaxseg",
                "end_to_end": {"p50_ms": 8.0},
            }
        ],
    }
    (tmp_path / "cpu-latency.json").write_text(json.dumps(report))
    (row,) = papers.find("dabnet/table5/dabnet")
    small, middle, large = papers.figures(row, tmp_path)
    assert (small.ours, middle.ours, middle.difference) == (None, 8.0, -2.0)
    assert "a processor, float32" in middle.how and "GTX 1080Ti" in middle.how
    assert "--sizes 1024x2048" in large.command
    (row,) = papers.find("dabnet/table3/dabnet")
    assert papers.training(row).endswith("--split test --submit out.zip")
    assert "its server scores test" in next(papers.figures(row, tmp_path)).how
    (row,) = papers.find("fpenet/table7/fpenet-768x1536")
    assert "input_scale=0.75 '--config.augment.crop_hw=(768, 1536)'" in (
        papers.training(row)
    )


def test_rows_that_there_are_not():
    with pytest.raises(UserError, match="near are .*dabnet/table5"):
        papers.find("dabnet/tabel5")


def test_the_command(tmp_path):
    code, out, err = run("reproduce.py", "list")
    assert code == 0 and out.count("\n") == len(papers.rows())
    path = tmp_path / "rows.json"
    given = "dabnet/table2a/erfdecoder", "fpenet/table6", f"--json={path}"
    code, out, err = run("reproduce.py", *given)
    assert code == 0, err
    assert "1.017" in out and "dabnet/table2a" in out
    whole = "--config.model.head=erf --workdir runs/dabnet-table2a-erfdecoder && python"
    assert f"(1) python train.py --config configs/dabnet.py:cityscapes {whole}" in out
    written = json.loads(path.read_text())
    assert [row["name"] for row in written][0] == "dabnet/table2a/erfdecoder"
    assert len(written) == 4
    code, out, err = run("reproduce.py", "dabnet/table9")
    assert code == 2 and "there is no row" in err and "Traceback" not in err
