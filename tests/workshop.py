"""A kind of run for tests, executed by workers: its steps do real things to real files. Run as a program it is a worker that knows it."""

import base64
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.actors import SYSTEM, Actor
from app.runs.drivers import Driver, Ending, Work, register, spec_of
from app.runs.models import Run, RunStep
from app.runs.operations import NewRun, NewStep, create_work
from app.vault import Vault

KIND = "workshop"


def do(context: Any) -> Ending | None:
    """Carry out one step: `append` its uuid to a file, `print`, `hold` on for seconds (or `stubborn`ly), `fail`."""
    spec = context.step_spec
    context.check()
    if path := spec.get("append"):
        with Path(path).open("a") as file:
            file.write(f"{spec.get('mark', context.position)}\n")
    for line in spec.get("print", ()):
        context.log(line)
    if name := spec.get("secret"):
        value = context.secrets[name]
        context.log(f"the secret is {value}!")
        context.log(base64.b64encode(b"x" + value.encode()).decode(), "stderr")
    if text := spec.get("keep"):
        context.keep("note.html", text.encode(), "text/html")
    if "wait_for" in spec:
        while not Path(spec["wait_for"]).exists():
            context.sleep(0.02)
    context.sleep(spec.get("hold", 0))
    if stubborn := spec.get("stubborn"):
        time.sleep(stubborn)
    if spec.get("raise"):
        raise RuntimeError(spec["raise"])
    if spec.get("fail"):
        return Ending("error", reason=spec["fail"], then=spec.get("then", ""))
    return Ending("done", result={"position": context.position, "before": context.result_of(context.position - 1)})


def again(run: Run, *, failed_only: bool, actor: Actor, vault: Vault | None = None) -> Run:
    """The same steps anew."""
    return request(spec_of(run)["steps"], actor=actor)


WORKSHOP = Driver(KIND, "Workshop", again, work=Work(do, timeout_s=lambda _run, step: _timeout(step)))


def _timeout(step: RunStep) -> float:
    import orjson

    return float(orjson.loads(step.spec or "{}").get("timeout", 60))


@contextmanager
def bench(run: Run) -> Iterator[list[int]]:
    """What the steps of a run that stays share."""
    yield []


def do_together(context: Any) -> Ending | None:
    """Like `do`, and remember it in what the steps share."""
    context.shared.append(context.position)
    context.log(f"so far {context.shared}")
    return do(context)


TOGETHER = replace(WORKSHOP, kind="together", work=Work(do_together, open=bench, stays=True))


def register_all() -> None:
    """Make both kinds known to this process."""
    register(WORKSHOP)
    register(TOGETHER)


def request(
    steps: Sequence[Mapping[str, Any]], *, actor: Actor = SYSTEM, kind: str = KIND, key: str | None = None, timeout_s: int = 60,
    secrets: Mapping[str, str] | None = None, vault: Vault | None = None, tenant_id: str | None = None,
) -> Run:  # fmt: skip
    """A run of such steps."""
    new = NewRun(kind, "A test", {"steps": list(steps)}, timeout_s, secrets, key=key, tenant_id=tenant_id)
    return create_work(new, [NewStep(f"step {n}", spec=step) for n, step in enumerate(steps)], actor=actor, vault=vault)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from app import create_app
    from app.worker import run as run_worker

    made = create_app()
    register_all()
    run_worker(made)
