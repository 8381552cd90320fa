"""`python -m happysad`: the command line, where its script is not on the path."""

from happysad.cli import main

# Processes that serve or train beside this one import this file again.
if __name__ == "__main__":
    main()
