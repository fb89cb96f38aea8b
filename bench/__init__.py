"""Benchmarks: each starts its own real servers on loopback, bounded in time, and writes its figures into RESULTS.md.

`python -m bench` runs all of them; `python -m bench ingest live` runs those. Each figure that depends on the speed of the
machine is a ratio to `bench/hello.py`, a bare Flask hello under the same gunicorn settings, measured in the same minute.
"""
