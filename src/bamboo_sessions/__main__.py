"""`python -m bamboo_sessions`: the command line, for where its program isn't on the path."""

from bamboo_sessions.cli import main

if __name__ == "__main__":
    main()
