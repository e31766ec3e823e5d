"""The page, in a browser: the labels that come back are the predictor's."""

import re
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, start
from PIL import Image

import jaxseg
from jaxseg.errors import UserError
from jaxseg.inference import demo
from streets import draw_scene

SHIPPED = "liteseg_mobilenet-camvid"
CHROMIUM = shutil.which("chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
QUIET += ("--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="module")
def scene():
    return np.ascontiguousarray(draw_scene(3)[0][::4, ::4])


def test_what_the_page_shows_of_a_picture(scene):
    mixed, (image, masks), path, said = demo.show(scene, SHIPPED, 0.3)
    segment = jaxseg.load(SHIPPED)
    label = segment(scene)
    np.testing.assert_array_equal(Image.open(path), label)
    np.testing.assert_array_equal(mixed, segment.overlay(scene, 0.3))
    assert re.fullmatch(
        rf"[\d.]+ ms for {scene.shape[1]}x{scene.shape[0]} by {SHIPPED}", said
    )
    assert len(masks) == len(np.unique(label))
    for mask, name in masks:
        of_class = segment.classes.index(name.rsplit(" ", 1)[0])
        np.testing.assert_array_equal(mask, label == of_class)
        assert name.endswith(f" {(label == of_class).mean():.1%}")
    assert demo.show(None, SHIPPED) == (None, None, None, "")


def test_what_there_is_to_choose_from(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "no_run").mkdir()
    runs = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert demo.choices("mine", tmp_path) == ["mine", *runs, SHIPPED]
    assert demo.choices(None, tmp_path / "nowhere") == [SHIPPED]


def test_a_page_without_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install 'jaxseg\[demo\]'"):
        demo.page(["x"])
    with pytest.raises(UserError, match="give --ckpt"):
        demo.page([])


@pytest.fixture
def served(tmp_path):
    pytest.importorskip("gradio", reason="needs the extra demo")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    process = start("demo.py", f"--port={port}", f"--runs={tmp_path}")
    assert f":{port} " in process.stdout.readline()
    yield port
    process.terminate()
    process.communicate(timeout=60)


def test_a_port_in_use(served):
    command = [sys.executable, "demo.py", f"--port={served}", "--runs=nowhere"]
    for _ in range(60):  # until the other one listens
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", served)) == 0:
                break
        time.sleep(1)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and f"port {served} is in use" in done.stderr


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
def test_labels_that_come_back_are_the_predictors(served, scene, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    Image.fromarray(scene).save(tmp_path / "a.png")
    with api.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        view = browser.new_page(viewport={"width": 1280, "height": 1000})
        for _ in range(60):
            try:
                view.goto(f"http://127.0.0.1:{served}")
                break
            except api.Error:
                view.wait_for_timeout(1000)
        view.set_input_files("input[type=file] >> nth=0", tmp_path / "a.png")
        latency = view.get_by_label("latency")
        api.expect(latency).to_have_value(re.compile(" ms for "), timeout=120_000)
        with view.expect_download() as download:
            view.get_by_text("label map (PNG)").click()
        download.value.save_as(tmp_path / "labels.png")
        view.wait_for_timeout(1500)
        view.screenshot(path=tmp_path / "page.png")
        browser.close()
    expected = jaxseg.load(SHIPPED)(scene)
    np.testing.assert_array_equal(Image.open(tmp_path / "labels.png"), expected)
