"""Looks a data set over; `python check.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import check

if __name__ == "__main__":
    cli.run(check)
