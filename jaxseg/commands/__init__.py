"""What the scripts and `jaxseg COMMAND` do: flags in, one library call, exit code out.

A command is a module whose docstring is its help, with its flags and `main`.
"""
