"""`python -m jaxseg.convert`, which is `jaxseg convert`."""

from jaxseg import cli
from jaxseg.commands import convert

if __name__ == "__main__":
    cli.run(convert)
