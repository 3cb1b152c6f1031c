"""`python -m whycam` is the command `whycam`."""

from whycam.commands import main

if __name__ == "__main__":
    main()
