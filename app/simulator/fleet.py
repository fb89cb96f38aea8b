"""Makes or finds the simulated computers in the local database, and gives each a fresh host key; likewise the bots' keys."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from app.actors import SYSTEM, Role
from app.api_keys.operations import create_host_key, create_integration_key, revoke_host_keys, revoke_key
from app.api_keys.queries import list_keys
from app.database import reading, session, unit_of_work
from app.fleet.models import Computer, ComputerKind, Inventory
from app.fleet.operations import create_computer
from app.fleet.queries import by_ids
from app.simulator.machines import TENANTS, Machine
from app.tenants.operations import create_tenant
from app.tenants.queries import list_tenants

CHUNK = 50  # computers a transaction: the running server's own writes get their turn in between
BOTS = "simulated bots"
BOTS_DESCRIPTION = "Made by `simulate --sessions`, which ends the keys of earlier runs"
BOTS_RATE_LIMIT = 1_000_000  # requests a minute


@dataclass(frozen=True)
class Enrolled:
    """A simulated computer that the server knows."""

    machine: Machine
    uuid: str
    key: str


def prepare(seed: int, count: int, say: Callable[[str], None]) -> list[Enrolled]:
    """The first `count` computers of this seed, made where they are missing; the keys of earlier runs end."""
    tenants = _tenants()
    known = _known(seed)
    enrolled: list[Enrolled] = []
    for start in range(0, count, CHUNK):
        machines = [Machine(seed, number) for number in range(start, min(start + CHUNK, count))]
        with unit_of_work():
            enrolled += [_enrol(machine, known.get(machine.number), tenants[machine.tenant]) for machine in machines]
        if start and start % 1000 == 0:
            say(f"{start:,} of {count:,} computers are ready")
    return enrolled


def bot_keys() -> dict[str, str]:
    """A fresh executor's key for each simulated tenant, by its name; the keys of earlier runs end."""
    tenants = _tenants()
    with unit_of_work():
        for key in list_keys(SYSTEM, own=False, q=BOTS):
            if (key.name, key.description) == (BOTS, BOTS_DESCRIPTION):
                revoke_key(key, actor=SYSTEM)
        return {name: create_integration_key(BOTS, Role.EXECUTOR, actor=SYSTEM, description=BOTS_DESCRIPTION,
                                             tenant_ids=[tenant_id], rate_limit=BOTS_RATE_LIMIT)[1]
                for name, tenant_id in tenants.items()}  # fmt: skip


def _tenants() -> dict[str, str]:
    with unit_of_work():
        found = {tenant.name: tenant.id for tenant in list_tenants(None)}
        for name in TENANTS:
            if name.lower() not in {known.lower() for known in found}:
                found[name] = create_tenant(name, actor=SYSTEM).id
    return {name: next(i for known, i in found.items() if known.lower() == name.lower()) for name in TENANTS}


def _known(seed: int) -> dict[int, int]:
    """Number → internal id of this seed's computers."""
    number = Inventory.custom["number"].as_integer()
    mine = (Inventory.custom["simulated"].as_boolean(), Inventory.custom["seed"].as_integer() == seed)
    with reading():
        return {n: i for n, i in session().execute(select(number, Inventory.computer_id).where(*mine)) if n is not None}


def _enrol(machine: Machine, computer_id: int | None, tenant_id: str) -> Enrolled:
    computer: Computer | None = by_ids([computer_id]).get(computer_id) if computer_id is not None else None
    if computer is None:
        custom = {"simulated": True, "seed": machine.seed, "number": machine.number}
        kind = ComputerKind.SERVER if machine.system.server else ComputerKind.WORKSTATION
        computer = create_computer(machine.name, actor=SYSTEM, tenant_id=tenant_id, kind=kind, tags=["simulated"], custom=custom)
    else:
        revoke_host_keys(computer.id, actor=SYSTEM, reason="replaced")
    _, key = create_host_key(f"simulated {machine.name}", computer.id, computer.uuid, computer.tenant_id, actor=SYSTEM)
    return Enrolled(machine, computer.uuid, key)
