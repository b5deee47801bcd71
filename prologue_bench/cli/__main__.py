"""`python -m prologue_bench.cli`, for launchers of several processes."""

from prologue_bench.cli.endings import main

if __name__ == "__main__":
    main()
