"""The papers' tables beside what is ours; `python reproduce.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import reproduce

if __name__ == "__main__":
    cli.run(reproduce)
