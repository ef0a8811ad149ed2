"""`python -m groxy`: the same as the `groxy` command."""

from groxy.cli import main

if __name__ == "__main__":
    main()
