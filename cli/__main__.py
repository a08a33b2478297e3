"""Runs the command as `python -m cli`, which works where no script is installed."""

from cli.main import main

if __name__ == "__main__":
    main()
