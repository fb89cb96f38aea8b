"""RESULTS.md: one row a benchmark figure, replaced when it is measured again."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("RESULTS.md")
HEAD = """# Benchmark results

Written by `python -m bench`. Ratios are to `bench/hello.py`, a bare Flask hello under the same gunicorn settings, measured in
turns with the product in the same run; load generator, database and server share the cores. How each figure is taken is
told at the top of the benchmark's module.

| benchmark | figure | target | met | command | date | machine |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Figure:
    """One measured figure: what, how much (in words), the target (in words) and whether it was met."""

    benchmark: str
    figure: str
    target: str
    met: bool


def machine() -> str:
    """The machine in a few words."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"


def report(name: str, figures: list[Figure]) -> None:
    """Print the figures and put them into RESULTS.md."""
    rows = _read()
    for key in [k for k in rows if k == name or k.startswith(f"{name}: ")]:
        del rows[key]
    for f in figures:
        print(f"{'met   ' if f.met else 'MISSED'}  {f.benchmark}: {f.figure}  (target {f.target})", flush=True)
        cells = (f.benchmark, f.figure, f.target, "yes" if f.met else "**no**", f"`python -m bench {name}`",
                 time.strftime("%Y-%m-%d"), machine())  # fmt: skip
        rows[f.benchmark] = "| " + " | ".join(cells) + " |"
    PATH.write_text(HEAD + "\n".join(rows[key] for key in sorted(rows)) + "\n", encoding="utf-8")


def _read() -> dict[str, str]:
    if not PATH.exists():
        return {}
    lines = [line for line in PATH.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines if not line.startswith("| benchmark ")}
