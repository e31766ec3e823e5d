"""How fast predict.py is beside the bare program: makes results/outlets.md.

  python -m tools.outlets --pictures ../shared/camvid/test

Pictures/s and frames/s of predict.py beside those of the predictor called with the same
pixels in memory, in turn; the start with a warm cache; what importing jaxseg takes.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import jaxseg
from jaxseg import runtime
from jaxseg.benchmark.latency import header_of_machine
from jaxseg.data.pictures import list_pictures, read_rgb
from jaxseg.inference.video import Video, VideoWriter
from streets import draw_scene

ROOT = Path(__file__).resolve().parents[1]
CKPT = "liteseg_mobilenet-camvid"
SECONDS, RATE, VIDEO_HW = 60, 10, (720, 1280)
_IMPORTS = 21
_WHY = """\
On two cores, which the network alone keeps busy, everything else costs its share:
compressing an overlay's PNG takes longer than all other work on a picture but the
network's, and coding H.264 is the most of a video's. The start imports JAX, traces the
network and reads its program from the cache."""


def bare(images: list[np.ndarray]) -> float:
    """Pictures/s of the predictor alone."""
    segment = jaxseg.load(CKPT)
    segment(images[0])
    begin = time.perf_counter()
    for image in images:
        segment(image)
    return len(images) / (time.perf_counter() - begin)


def predicted(source: Path, output: Path, *flags: str) -> float:
    """Things/s of predict.py from its first to its last."""
    command = [sys.executable, "predict.py", f"--ckpt={CKPT}", f"--input={source}"]
    command += [f"--output={output}", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    said = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    rate = re.search(r"([\d.]+) a second", said)
    return float(rate[1])


def draw_video(path: Path) -> None:
    """A drive through drawn scenes: a window that moves over one a second."""
    writer = VideoWriter(path, RATE)
    h, w = VIDEO_HW
    for second in range(SECONDS):
        scene = draw_scene(second)[0]
        large = np.asarray(Image.fromarray(scene).resize((w + 100, h + 50)))
        for frame in range(RATE):
            y, x = frame * 50 // RATE, frame * 100 // RATE
            writer.write(large[y : y + h, x : x + w])
    writer.close()


def seconds(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - begin


def table(pictures: Path, folder: Path, rounds: int) -> list[str]:
    images = [read_rgb(path, path) for path in list_pictures(pictures)]
    ways = {
        "label maps (`--overlay 0`)": ("--overlay=0",),
        "label maps and overlays": (),
    }
    lines = [
        "| what | predict.py, 1/s | bare program, 1/s | share |",
        "|---|---:|---:|---:|",
    ]
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in ways}
    for number in range(rounds):
        for what, flags in ways.items():
            out = folder / f"{number}-{len(flags)}"
            found[what].append((predicted(pictures, out, *flags), bare(images)))
    h, w = images[0].shape[:2]
    lines += [
        _line(f"{len(images)} pictures {w}x{h}, {k}", v) for k, v in found.items()
    ]
    drive = folder / "drive.mp4"
    draw_video(drive)
    frames = [frame for _, frame in zip(range(60), Video(str(drive)))]
    pairs = [
        (predicted(drive, folder / f"seen{number}.mp4"), bare(frames))
        for number in range(rounds)
    ]
    h, w = VIDEO_HW
    lines.append(_line(f"a video of {SECONDS} s, {w}x{h}, {RATE}/s, to a video", pairs))
    return lines


def _line(what: str, pairs: list[tuple[float, float]]) -> str:
    ours, alone = (statistics.median(column) for column in zip(*pairs))
    share = statistics.median(a / b for a, b in pairs)
    return f"| {what} | {ours:.1f} | {alone:.1f} | {share:.2f} |"


def starts(picture: Path, folder: Path, rounds: int) -> list[str]:
    one = [sys.executable, "predict.py", f"--ckpt={CKPT}", f"--input={picture}"]
    one += [f"--output={folder / 'one'}"]
    whole = [seconds(*one) for _ in range(rounds + 1)][1:]
    # Milliseconds, which a few processes would not tell from noise.
    python = [seconds(sys.executable, "-c", "") for _ in range(_IMPORTS)]
    door = [seconds(sys.executable, "-c", "import jaxseg") for _ in range(_IMPORTS)]
    importing = statistics.median(door) - statistics.median(python)
    return [
        f"- predict.py on one picture, from its start to its end, with a warm cache: "
        f"{statistics.median(whole):.1f} s.",
        f"- `import jaxseg`: {1e3 * importing:.0f} ms more than Python alone.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.outlets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    runtime.setup()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = table(given.pictures, folder, given.rounds)
        lines += ["", *starts(list_pictures(given.pictures)[0], folder, given.rounds)]
    header = header_of_machine()
    text = [
        "# predict.py beside the bare program",
        "",
        "`python -m tools.outlets --pictures PATH --rounds "
        f"{given.rounds}`, in turn, medians; {CKPT}, "
        f"float32; {header['cpu']}, {header['cores']} cores. predict.py reads, "
        "computes and writes; the bare program is the predictor, called with pixels in "
        "memory. The first picture, which waits for its program, is not counted.",
        "",
        *lines,
        "",
        _WHY,
        "",
        "Memory over 5,000 pictures: [reliability.md](reliability.md).",
    ]
    (ROOT / "results" / "outlets.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
