"""Makers of domain objects, valid by default: a test states only what it is about. Each commits and needs an app context."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from argon2 import PasswordHasher
from flask import current_app

from app.actors import SYSTEM, Actor, Role
from app.api_keys.operations import create_host_key, create_integration_key
from app.auth.models import User
from app.clock import now, to_ms
from app.commands.operations import request_command
from app.containers.models import ContainerState, EngineState
from app.containers.reports import ContainerFound, EngineFound, store_report
from app.database import session, unit_of_work
from app.factory import vault_of
from app.fleet.operations import create_computer
from app.fleet.queries import by_ids
from app.metrics.operations import NewSample, store
from app.notifications.operations import create_channel
from app.outbound import Network
from app.runs.drivers import Ending
from app.runs.operations import begin, finish_step, step_started
from app.runs.output import Piece, append
from app.runs.queries import get_step
from app.tenants.models import Tenant
from app.tenants.operations import create_tenant
from app.webhooks.models import Webhook
from app.webhooks.operations import create_webhook, test_webhook

PASSWORD = "a-long-enough-password"
LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)
QUICK_HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(
    PASSWORD
)  # what it costs in earnest is a test's own subject


def make_tenant(name: str) -> str:
    """A tenant; returns its id."""
    with unit_of_work():
        return create_tenant(name, actor=SYSTEM).id


def make_user(name: str = "someone", role: Role = Role.USER, tenant_ids: Iterable[str] | None = None) -> str:
    """A user whose password is PASSWORD; returns the id."""
    with unit_of_work():
        user = User(username=name, username_key=name.lower(), email=f"{name}@example.com", email_key=f"{name}@example.com".lower(),
                    password_hash=QUICK_HASH, role=role, all_tenants=tenant_ids is None)  # fmt: skip
        user.tenants = [session().get(Tenant, i) for i in tenant_ids or ()]
        session().add(user)
        session().flush()
        return user.id


def make_key(name: str, role: Role = Role.USER, tenant_ids: Iterable[str] | None = None, user_id: str | None = None) -> str:
    """An integration key; returns the secret."""
    with unit_of_work():
        maker = replace(SYSTEM, user_id=user_id)
        return create_integration_key(name, role, actor=maker, tenant_ids=tenant_ids, rate_limit=100_000)[1]


def make_computer(name: str = "web-1", **fields: Any) -> tuple[int, str]:
    """A computer; returns (internal id, public id)."""
    with unit_of_work():
        computer = create_computer(name, actor=SYSTEM, **fields)
        return computer.id, computer.uuid


def make_host_key(computer: tuple[int, str], tenant_id: str) -> str:
    """A host key of a computer; returns the secret."""
    with unit_of_work():
        return create_host_key("agent", computer[0], computer[1], tenant_id, actor=SYSTEM, rate_limit=100_000)[1]


def make_samples(computer_id: int, count: int = 3, *, cpu: float = 20.0, end: int | None = None, step_ms: int = 10_000,
                 **fields: Any) -> list[int]:  # fmt: skip
    """Samples up to `end` (ms; default now), `step_ms` apart; returns their times."""
    end = to_ms(now()) if end is None else end
    times = [end - i * step_ms for i in reversed(range(count))]
    values = {"memory": 40.0, "disk": 50.0} | fields
    with unit_of_work():
        store([NewSample(computer_id, at, cpu, **values) for at in times])
    return times


def make_run(*computers: tuple[int, str], command: str = "uptime", actor: Actor = SYSTEM, **fields: Any) -> str:
    """A command on computers, waiting; returns the run's id."""
    with unit_of_work():
        found = by_ids(computer[0] for computer in computers)
        return request_command([found[computer[0]] for computer in computers], command, actor=actor, **fields).id


def make_output(
    run_id: str, *pieces: tuple[str, str], position: int = 0, exit_code: int | None = None, outcome: str | None = None
) -> None:
    """Output of a run's step as (stream, text), after what is there; with `exit_code` or `outcome` the step has ended so."""
    with unit_of_work():
        step = get_step(run_id, position)
        begin(run_id, "tests")
        step_started(step)
        first = step.log_seq + 1
        append(step, [Piece(first + number, stream, text) for number, (stream, text) in enumerate(pieces)])
        if exit_code is not None or outcome:
            reason = f"Exit code {exit_code}" if exit_code else None
            finish_step(step, Ending(outcome or "exited", exit_code, reason, 1500))


def make_webhook(url: str = "https://hooks.example.com/in", *events: str, **fields: Any) -> str:
    """A webhook for some events (default: all of them), which may be on this machine; returns its id."""
    with unit_of_work():
        vault = vault_of(current_app)
        return create_webhook("Ops", url, events or ("*",), actor=SYSTEM, vault=vault, allow=LOOPBACK, **fields)[0].id


def make_channel(url: str = "ntfy://a-secret-topic", **fields: Any) -> str:
    """A channel, without asking Apprise about its URL; returns its id."""
    with unit_of_work():
        address = url, url.partition("://")[0] + "://***", "Service"
        return create_channel(fields.pop("name", "On call"), address, actor=SYSTEM, vault=vault_of(current_app), **fields).id


def make_delivery(webhook_id: str) -> str:
    """A test of a webhook, waiting to be sent; returns its id."""
    with unit_of_work():
        return test_webhook(session().get(Webhook, webhook_id), actor=SYSTEM).id


def make_containers(computer: tuple[int, str], *names: str, engine: EngineState = EngineState.OK, **fields: Any) -> None:
    """All the containers that a computer has from now on, running unless `state` says otherwise; one's id is its name's hex digits,
    repeated."""
    values = {"image": "nginx:1.27", "state": ContainerState.RUNNING, "started_at": now(), "created_at": now()} | fields
    found = [ContainerFound(engine_id=(name.encode().hex() * 64)[:64], name=name, **values) for name in names]
    with unit_of_work():
        store_report(computer[0], EngineFound(engine, "Docker", "27.0", total=len(found)), found)
