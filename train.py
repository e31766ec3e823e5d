"""Trains a network; `python train.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import train

if __name__ == "__main__":
    cli.run(train)
