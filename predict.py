"""Segments pictures; `python predict.py --help` says how."""

from jaxseg import cli
from jaxseg.commands import predict

if __name__ == "__main__":
    cli.run(predict)
