"""``python -m pointwise`` is the command line."""

from pointwise.cli.app import main

if __name__ == "__main__":
    main()
