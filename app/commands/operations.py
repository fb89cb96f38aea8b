"""What can be done with commands: ask for one on computers."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import orjson

from app.actors import Actor
from app.clock import now
from app.errors import Invalid, field_error
from app.fleet.models import Computer
from app.fleet.queries import by_ids
from app.runs import operations as runs
from app.runs.masking import LONGEST, SHORTEST, Masker
from app.runs.models import Run
from app.runs.operations import NewRun, Target
from app.runs.output import secrets_of
from app.vault import Vault, VaultError

KIND = "command"
SHELLS = ("sh", "bash", "powershell", "pwsh", "cmd")
MAX_COMMAND = 65_536
DELIVER_AT_ONCE = timedelta(seconds=30)
DELIVER_WITHIN = timedelta(days=7)
MAX_SECRETS = 20
CARRIED_FOR = timedelta(hours=1)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def target_of(computer: Computer) -> Target:
    """A computer as the target of a step."""
    return Target(computer.id, computer.uuid, computer.name, computer.tenant_id)


def check_secrets(secrets: Mapping[str, str], command: str, cwd: str | None) -> None:
    """Secrets become environment variables and are masked wherever they are printed, so they must be long enough to be told from
    other text, and not stand in what everybody may read. Raises Invalid."""
    if len(secrets) > MAX_SECRETS:
        raise field_error("secrets", f"At most {MAX_SECRETS} secrets")
    for name, value in secrets.items():
        if not _NAME.fullmatch(name) or value in name:
            raise field_error("secrets", "A name is that of an environment variable: letters, digits and _")
        if not SHORTEST <= len(value) <= LONGEST or "\x00" in value:
            raise field_error("secrets", f"{name}: a secret has {SHORTEST} to {LONGEST:,} characters")
    if secrets and any(Masker(secrets.values()).mask(text) != text for text in (command, cwd or "")):
        raise field_error("secrets", "A secret stands in the command itself, which everybody may read; name its variable there")


def carry_secrets(secrets: Mapping[str, str], *, actor: Actor, vault: Vault) -> str:
    """Secrets as a text that a page may hold while a person is asked whether really: encrypted, for an hour, for that person."""
    until = (now() + CARRIED_FOR).timestamp()
    return vault.encrypt(orjson.dumps({"for": actor.id, "until": until, "secrets": dict(secrets)}).decode())


def carried_secrets(text: str, *, actor: Actor, vault: Vault) -> dict[str, str]:
    """Secrets that a page has carried. Raises Invalid when they are somebody else's, too old, or no such text."""
    try:
        held = orjson.loads(vault.decrypt(text))
    except (VaultError, orjson.JSONDecodeError):
        held = None
    if not isinstance(held, dict) or held.keys() != {"for", "until", "secrets"} or held["for"] != actor.id:
        raise field_error("secrets", "Type the secrets again: what the page held of them cannot be read")
    if now().timestamp() > held["until"]:
        raise field_error("secrets", "Type the secrets again: the page was open for more than an hour")
    found: dict[str, str] = held["secrets"]
    return found


def request_command(
    computers: Iterable[Computer], command: str, *, actor: Actor, timeout_s: int = 30, shell: str | None = None,
    cwd: str | None = None, queue: bool = False, retry_of: str | None = None, secrets: Mapping[str, str] | None = None,
    vault: Vault | None = None,
) -> Run:  # fmt: skip
    """A run of a shell line on computers. With `queue` it waits up to a week for those that are offline, else half a minute.
    `secrets` are delivered as environment variables and need a `vault`. Raises Invalid."""
    if not command.strip():
        raise field_error("command", "Command is required")
    check_secrets(secrets or {}, command, cwd)
    spec: dict[str, Any] = {"command": command, "queue": queue}
    spec |= {name: value for name, value in (("shell", shell), ("cwd", cwd)) if value}
    new = NewRun(KIND, " ".join(command.split())[:200], spec, timeout_s, secrets, retry_of)
    deliver_for = DELIVER_WITHIN if queue else DELIVER_AT_ONCE
    return runs.create_remote(new, [target_of(c) for c in computers], deliver_for=deliver_for, actor=actor, vault=vault)


def again(run: Run, *, failed_only: bool, actor: Actor, vault: Vault | None = None) -> Run:
    """The same command anew, on those of its computers that are still there and that the actor sees. Raises Invalid."""
    spec = orjson.loads(run.spec)
    wanted = [target.id for target in runs.targets_of(run, failed_only=failed_only)]
    found = by_ids(wanted)
    computers = [found[i] for i in wanted if i in found and actor.sees(found[i].tenant_id)]
    if not computers:
        raise Invalid("None of its computers is there any more")
    secrets = secrets_of(run, vault) if vault is not None else {}
    if run.secrets and not secrets:
        raise Invalid("Its secrets cannot be read")
    return request_command(computers, spec["command"], actor=actor, timeout_s=run.timeout_s, shell=spec.get("shell"),
                           cwd=spec.get("cwd"), queue=bool(spec.get("queue")), retry_of=run.id, secrets=secrets,
                           vault=vault)  # fmt: skip
