"""Exports a network; `python export.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import export

if __name__ == "__main__":
    cli.run(export)
