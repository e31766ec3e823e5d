"""A page on this machine: a picture, a video or the camera, and what a network sees."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import weights
from jaxseg.errors import UserError
from jaxseg.inference.pictures import OPACITY, overlay, save_indexed
from jaxseg.inference.predict import predict
from jaxseg.inference.segmenter import Segmenter

_KEPT = 4  # networks in memory

_load = lru_cache(_KEPT)(Segmenter)


def choices(ckpt: str | None, runs: Path) -> list[str]:
    """What there is to choose from: `ckpt`, the runs in a folder, weights that ship."""
    found = sorted(str(path.parent) for path in runs.glob("*/run.json"))
    return list(dict.fromkeys([*([ckpt] if ckpt else []), *found, *weights.names()]))


def show(
    image: np.ndarray | None, ckpt: str, opacity: float = OPACITY
) -> tuple[Any, Any, str | None, str]:
    """What the page shows of a picture, uint8 `(h, w, 3)`.

    Returns:
        The overlay; the picture with a mask for each class that occurs, named with its
        share, most frequent first; the path of its label map as a PNG; a line with the
        latency.
    """
    if image is None:
        return None, None, None, ""
    segment = _load(ckpt)
    segment(image)  # compiles, where the size is new
    begin = time.perf_counter()
    label = segment(image)
    took = 1e3 * (time.perf_counter() - begin)
    shares = np.bincount(label.ravel(), minlength=256) / label.size
    masks = [
        ((label == c).astype(np.uint8), _named(segment, c, shares[c]))
        for c in np.argsort(-shares, kind="stable")
        if shares[c] and c < len(segment.classes)
    ]
    path = Path(tempfile.mkdtemp(prefix="jaxseg-")) / "labels.png"
    save_indexed(label, segment.table, path)
    h, w = label.shape
    said = f"{took:.1f} ms for {w}x{h} by {ckpt}"
    mixed = overlay(image, label, segment.table, opacity)
    return mixed, (image, masks), str(path), said


def _named(segment: Segmenter, c: int, share: float) -> str:
    return f"{segment.classes[c]} {share:.1%}"


def show_video(path: str | None, ckpt: str, opacity: float) -> str | None:
    """The path of a video of overlays."""
    if path is None:
        return None
    from jaxseg.inference.results import Wanted

    out = Path(tempfile.mkdtemp(prefix="jaxseg-")) / "overlay.mp4"
    predict(ckpt, [path], out, wanted=Wanted(overlay=opacity))
    return str(out)


def page(names: Sequence[str]) -> Any:
    """The page, a `gradio.Blocks`, with networks `names` to choose from.

    Raises:
        UserError: Gradio is not installed, or there is nothing to choose from.
    """
    if not names:
        raise UserError("there is no run and no weights to show; give --ckpt.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError as error:
        raise UserError(
            "the page needs the package gradio; pip install 'jaxseg[demo]'."
        ) from error

    with gr.Blocks(title="jaxseg") as blocks:
        with gr.Row():
            ckpt = gr.Dropdown(list(names), value=names[0], label="network")
            opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="opacity")
        with gr.Tab("Picture"):
            with gr.Row():
                image = gr.Image(
                    label="picture", sources=["upload", "webcam", "clipboard"]
                )
                mixed = gr.Image(label="overlay", format="png", interactive=False)
            classes = gr.AnnotatedImage(label="classes, with their shares", height=440)
            with gr.Row():
                said = gr.Textbox(label="latency", interactive=False)
                file = gr.DownloadButton("label map (PNG)")
            given, shown = [image, ckpt, opacity], [mixed, classes, file, said]
            for changed in (image.change, ckpt.change, opacity.release):
                changed(
                    _told(gr, partial(_coloured, gr)),
                    given,
                    shown,
                    show_progress="minimal",
                )
        with gr.Tab("Camera"):
            with gr.Row():
                live = gr.Image(label="camera", sources=["webcam"], streaming=True)
                seen = gr.Image(label="overlay", interactive=False)
            live.stream(
                _told(gr, lambda *given: show(*given)[0]),
                [live, ckpt, opacity],
                seen,
                show_progress="hidden",
            )
        with gr.Tab("Video"):
            with gr.Row():
                video = gr.Video(label="video", sources=["upload"])
                overlays = gr.Video(label="overlays", interactive=False)
            video.upload(_told(gr, show_video), [video, ckpt, opacity], overlays)
    return blocks


def _coloured(gr: Any, image: Any, ckpt: str, opacity: float) -> tuple[Any, ...]:
    """As `show`, with each class in its colour."""
    mixed, classes, path, said = show(image, ckpt, opacity)
    palette = dict(zip(_load(ckpt).classes, _load(ckpt).palette))
    colours = {
        name: "#{:02x}{:02x}{:02x}".format(*palette[name.rsplit(" ", 1)[0]])
        for _, name in (classes or (None, []))[1]
    }
    shown = gr.AnnotatedImage(classes, color_map=colours, height=440)
    return mixed, shown, path, said


def _told(gr: Any, function: Callable) -> Callable:
    """`function`, whose errors of the user's are a note on the page."""

    def call(*arguments):
        try:
            return function(*arguments)
        except UserError as error:
            raise gr.Error(str(error)) from error

    return call
