"""`python -m twostream` is the same as the command `twostream`."""

import os
import sys

# `python -m` looks for modules in the current folder first, where a numpy.py may lie among data.
if sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

from twostream.cli import main

if __name__ == "__main__":
    main()
