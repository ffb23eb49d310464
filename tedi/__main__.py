"""`python -m tedi` is the command `tedi`."""

from tedi.cli import main

main()
