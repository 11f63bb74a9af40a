"""`python -m sgc` is the same as `sgc`."""

from sgc.cli import main

if __name__ == "__main__":
    main()
