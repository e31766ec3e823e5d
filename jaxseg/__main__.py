"""`python -m jaxseg COMMAND`, for where the command `jaxseg` is not on the path."""

from jaxseg.cli import main

if __name__ == "__main__":
    main()
