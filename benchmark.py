"""Times the networks, beside other runtimes; `python benchmark.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import benchmark

if __name__ == "__main__":
    cli.run(benchmark)
