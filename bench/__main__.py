"""`python -m bench [name…]`."""

import importlib
import sys

from bench.results import report

ALL = ("ingest", "alerts", "events", "export", "page", "live", "sockets", "runs", "containers", "idle", "login", "deliveries")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; returns 1 when a target was missed."""
    if unknown := [name for name in names if name not in ALL]:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    met = True
    for name in names or ALL:
        print(f"── {name}", flush=True)
        figures = importlib.import_module(f"bench.{name}").run()
        report(name, figures)
        met = met and all(figure.met for figure in figures)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
