"""``python -m edge_fer``: the command line, where the script ``edge-fer`` is not on the path."""

from edge_fer.cli import main

if __name__ == "__main__":
    main()
