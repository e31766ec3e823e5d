"""Scores a run; `python eval.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import eval

if __name__ == "__main__":
    cli.run(eval)
