"""A page to look at: python demo.py [--ckpt runs/esnet]

Opens a page on this machine, http://127.0.0.1:7860: drop a picture or a video there, or
use the camera, and see the overlay, each class with its share, the class under the
pointer, and the latency. To choose from are --ckpt, the runs in runs/, and the weights
that ship. Ctrl-C ends it. Needs gradio (pip install '.[demo]').
"""

from pathlib import Path

from absl import flags

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CKPT = flags.DEFINE_string("ckpt", None, "a run's folder, or an export")
_RUNS = flags.DEFINE_string("runs", "runs", "a folder of runs to choose from")
_PORT = flags.DEFINE_integer("port", 7860, "where the page is", 1, 65535)


def main() -> None:
    runtime.setup()
    from jaxseg.inference.demo import choices, page

    names = choices(_CKPT.value, Path(_RUNS.value))
    blocks = page(names)
    print(f"http://127.0.0.1:{_PORT.value} (Ctrl-C ends it)", flush=True)
    try:
        blocks.launch(server_name="127.0.0.1", server_port=_PORT.value, quiet=True)
    except OSError as error:
        raise UserError(
            f"port {_PORT.value} is in use; choose another with --port. "
            f"{cli.command('demo')} --port {_PORT.value + 1}"
        ) from error
