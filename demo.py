"""A page to look at; `python demo.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import demo

if __name__ == "__main__":
    cli.run(demo)
