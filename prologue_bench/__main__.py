"""`python -m prologue_bench`: the command line."""

from prologue_bench.cli.endings import main

if __name__ == "__main__":
    main()
