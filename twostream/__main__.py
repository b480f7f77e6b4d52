"""`python -m twostream` is the same as the command `twostream`."""

from twostream.cli import main

if __name__ == "__main__":
    main()
