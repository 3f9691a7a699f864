"""`python -m certmix` works from a checkout, uninstalled."""

from certmix.cli.main import main

if __name__ == "__main__":
    main()
