"""Videos and cameras: frames in, a video or pictures out, by PyAV."""

import platform
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.errors import Incomplete, UserError

# How a camera is opened, by operating system: FFmpeg's input format, and its name.
_CAMERAS = {
    "Linux": ("v4l2", "/dev/video{}"),
    "Darwin": ("avfoundation", "{}"),
    "Windows": ("dshow", "video={}"),
}
_RATE = Fraction(30)  # frames/s, of sources that do not say


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError(
            "reading a video needs the package av; pip install 'jaxseg[video]'."
        ) from error
    return av


class Video:
    """The frames of a video file, a stream's address, or `camera:0`.

    Attributes:
        name: for files of single frames.
        rate: frames/s.
        frames: how many there are, as far as the file says, or None.
        endless: whether it goes on until somebody stops it.
    """

    def __init__(self, source: str) -> None:
        """Raises `UserError` if there is no such video or camera, or PyAV is not."""
        av = _av()
        self._source, self._error = source, av.FFmpegError
        self.endless = "://" in source or source.startswith("camera:")
        path, kind = source, None
        if source.startswith("camera:"):
            kind, name = _CAMERAS.get(platform.system(), _CAMERAS["Linux"])
            path = name.format(source.partition(":")[2])
        elif not self.endless:
            path = str(Path(source).expanduser())
        try:
            self._container = av.open(path, format=kind)
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, OSError, IndexError) as error:
            what = "camera" if kind else "video"
            reason = getattr(error, "strerror", None) or "it has no pictures"
            raise UserError(
                f"{source} cannot be opened as a {what} ({reason})."
            ) from error
        self._stream.thread_type = "AUTO"
        self.name = re.sub(r"\W+", "_", Path(source).stem).strip("_") or "video"
        self.rate = self._stream.average_rate or _RATE
        self.frames = self._stream.frames or None

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 RGB `(h, w, 3)`.

        Raises:
            Incomplete: it breaks off, after the frames before.
        """
        number, seconds = 0, 0.0
        whole = (self._container.duration or 0) / 1e6
        try:
            for frame in self._container.decode(self._stream):
                yield frame.to_ndarray(format="rgb24")
                number, seconds = number + 1, frame.time or 0.0
        except self._error as error:
            raise Incomplete(
                f"{self._source} breaks off after {number} frames "
                f"({error.strerror}); these were segmented."
            ) from error
        finally:
            self._container.close()
        # FFmpeg takes a file that was cut off for one that ends there. Matroska does
        # not count frames; its duration may be that of a somewhat longer sound track.
        cut = number < self.frames if self.frames else seconds < 0.95 * whole - 0.5
        if cut and not self.endless:
            raise Incomplete(
                f"{self._source} is longer by what it says, and breaks off after "
                f"{number} frames; these were segmented."
            )


class VideoWriter:
    """Writes frames as an H.264 video, which has its name once it is whole."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        self._path, self._rate = path, rate
        self._unfinished = path.with_name(f".{path.name}")
        self._container: Any = None

    def write(self, frame: np.ndarray) -> None:
        """Adds uint8 RGB `(h, w, 3)`; h and w are those of the first."""
        av = _av()
        h, w = (n - n % 2 for n in frame.shape[:2])  # which H.264 asks for
        if self._container is None:
            kind = self._path.suffix[1:].lower()
            kind = {"mkv": "matroska", "m4v": "mp4"}.get(kind, kind)
            self._container = av.open(str(self._unfinished), "w", format=kind)
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.height, self._stream.width = h, w
            self._stream.pix_fmt = "yuv420p"
            # Less than half the time of x264's default, for overlays no larger files.
            self._stream.options = {"preset": "veryfast"}
        whole = np.ascontiguousarray(frame[:h, :w])
        coded = av.VideoFrame.from_ndarray(whole, format="rgb24")
        for packet in self._stream.encode(coded):
            self._container.mux(packet)

    def close(self, keep: bool = True) -> None:
        """Ends the video; with `keep` it gets its name, else it is removed."""
        if self._container is None:
            return
        try:
            if keep:
                for packet in self._stream.encode():
                    self._container.mux(packet)
        finally:
            self._container.close()
            self._container = None
        if keep:
            self._unfinished.replace(self._path)
        else:
            self._unfinished.unlink(missing_ok=True)
