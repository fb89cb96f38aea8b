"""One connector's conversation, from `auth` to the close: contract 002's message table and docs/connector-protocol.md."""

import re
import time
from collections.abc import Callable
from typing import Any

import orjson
from flask import current_app
from pydantic import BaseModel, ValidationError

from app.actors import Actor, ActorKind
from app.auth.authenticator import from_secret
from app.clock import iso, now
from app.connectors.conversation import handler_of
from app.connectors.dispatcher import dispatcher_of
from app.connectors.registry import Connection, gone_hooks, greeted_hooks, metrics_hooks, registry_of
from app.connectors.schemas import Hello, InventoryFound, InventoryMessage
from app.database import reading, unit_of_work
from app.errors import DomainError, Invalid, Malformed, Unauthenticated
from app.fleet import operations as fleet
from app.fleet.queries import by_ids
from app.journal.queries import last_seq
from app.logging import get_logger
from app.metrics.operations import NewSample
from app.metrics.schemas import AgentPush, SampleIn
from app.metrics.writer import writer_of
from app.web.body import field_errors, parse_json
from app.web.sockets import POLICY_VIOLATION, Socket

AUTH_S = 5.0
SILENCE_S = 3600.0
MESSAGES_A_MINUTE = 600
MAX_FAULTS = 20
log = get_logger(__name__)


class Goodbye(Exception):
    """The conversation is over; `code` and the text go into the close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def serve(socket: Socket, who: Actor) -> None:
    """Hold the conversation until either side ends it."""
    try:
        connection = _authenticate(socket, who)
    except Goodbye as goodbye:
        socket.close(goodbye.code, goodbye.reason)
        return
    registry = registry_of(current_app)
    try:
        Conversation(connection).run()
    except Goodbye as goodbye:
        socket.close(goodbye.code, goodbye.reason)
    finally:
        if registry.remove(connection):
            with unit_of_work(power_safe=False):
                fleet.connection_lost(connection.computer_id)
            for hook in gone_hooks:
                hook(connection)


def _authenticate(socket: Socket, who: Actor) -> Connection:
    if who.kind is not ActorKind.HOST:
        who = _first_message(socket)
    with reading():
        seen = last_seq()
        computer = by_ids([who.computer_id or 0]).get(who.computer_id or 0)
        if computer is None or who.key_id is None:
            raise Goodbye(POLICY_VIOLATION, "invalid API key")
        connection = Connection(socket, computer.id, computer.uuid, who.key_id)
    registry_of(current_app).add(connection, seen)
    dispatcher_of(current_app).ring()  # perhaps something waits for it
    with unit_of_work(power_safe=False):
        fleet.contact(connection.computer_id)
    answer = {"type": "auth_success", "server_id": connection.uuid, "message": "Authenticated"}
    connection.send(orjson.dumps(answer).decode())
    return connection


def _first_message(socket: Socket) -> Actor:
    message = socket.receive(AUTH_S)
    try:
        parsed = parse_json(_bytes(message)) if message is not None else {}
        key = parsed.get("api_key") if isinstance(parsed, dict) and parsed.get("type") == "auth" else None
        with reading():
            who = from_secret(key) if isinstance(key, str) else None
    except (Malformed, Unauthenticated):
        who = None
    if who is None or who.kind is not ActorKind.HOST:
        raise Goodbye(POLICY_VIOLATION, "invalid API key")
    return who


_PRINTED = re.compile(rb'"(command|container)_|"error"')
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def _without_nul(raw: bytes) -> bytes:
    """What commands and containers print may hold NULs: they become U+FFFD. Anywhere else a NUL is refused."""
    return _NUL.sub(rb"\1\\ufffd", raw) if b"\\u0000" in raw and _PRINTED.search(raw[:200]) else raw


_OUTPUT = re.compile(rb'"type"\s*:\s*"(?:command_(?:started|output|result)|container_log)"')


def is_output(message: str | bytes) -> bool:
    """Whether it is what a command or a container printed, as far as its first characters tell."""
    return _OUTPUT.search(_bytes(message[:200])) is not None


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def _validated(model: type[BaseModel], message: dict[str, Any]) -> Any:
    try:
        return model.model_validate_json(orjson.dumps(message))
    except ValidationError as error:
        raise field_errors(error, "body") from None


class Conversation:
    """The messages after `auth_success`. A message that does not fit is answered with `error`; MAX_FAULTS of them end it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.faults = 0
        self.handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ping": self.on_ping,
            "metrics": self.on_metrics,
            "hello": self.on_hello,
            "inventory": self.on_inventory,
            "samples": self.on_samples,
        }

    def run(self) -> None:
        """Read and answer until the socket closes. Raises Goodbye, ConnectionClosed or OSError."""
        window, count = time.monotonic(), 0
        while True:
            message = self.connection.socket.receive(SILENCE_S)
            if message is None:
                raise Goodbye(1000, "silent for an hour")
            count += not is_output(message)  # output has a pace of its own: what is not acknowledged is bounded
            if count > MESSAGES_A_MINUTE:  # slow it down; TCP passes the pressure on
                time.sleep(max(0.0, window + 60 - time.monotonic()))
            if time.monotonic() - window >= 60:
                window, count = time.monotonic(), 0
            self._handle(message)

    def _handle(self, message: str | bytes) -> None:
        kind: Any = None
        try:
            parsed = parse_json(_without_nul(_bytes(message)))
            kind = parsed.get("type") if isinstance(parsed, dict) else None
            if not isinstance(kind, str):
                raise Malformed("a message is an object with a type")
            if handler := self.handlers.get(kind):
                handler(parsed)
            elif known := handler_of(kind):
                known(self.connection, parsed)
        except DomainError as error:
            self._fault(kind, error)
        except UnicodeError:
            self._fault(kind, Malformed("not UTF-8"))

    def _fault(self, kind: Any, error: DomainError) -> None:
        self.faults += 1
        rows = error.errors[:5] if isinstance(error, Invalid) else []
        said = "; ".join(f"{row.name}: {row.message}" for row in rows) or error.details or error.message
        log.info("connector message refused", computer=self.connection.uuid, kind=str(kind)[:32], reason=said[:200])
        if self.faults > MAX_FAULTS:
            raise Goodbye(POLICY_VIOLATION, "too many malformed messages")
        self.send("error", message=said[:500], regarding=str(kind)[:32])

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message of a type."""
        self.connection.send(orjson.dumps({"type": kind, **fields}).decode())

    def on_ping(self, message: dict[str, Any]) -> None:
        self.send("pong")

    def on_metrics(self, message: dict[str, Any]) -> None:
        """The original agents' metrics; answered after the commit."""
        data = _validated(AgentPush, message).data
        self._store([data.sample(self.connection.computer_id)])
        for hook in metrics_hooks:
            hook(self.connection, data.containers)
        self.send("metrics_received", status="ok")

    def on_hello(self, message: dict[str, Any]) -> None:
        hello = _validated(Hello, message)
        with unit_of_work():
            acked = fleet.note_connection(
                self.connection.computer_id, hello.connector_id, hello.version, hello.interval,
                {"pending": hello.spool.pending, "dropped": hello.spool.dropped},
            )  # fmt: skip
            if hello.inventory is not None:
                self._keep(hello.inventory)
        self.connection.capabilities = frozenset(hello.capabilities)
        self.connection.greeted, self.connection.memory = True, hello.commands_memory
        self.send("hello_ok", interval=hello.interval, acked=acked, time=iso(now()))
        for hook in greeted_hooks:
            hook(self.connection)

    def on_inventory(self, message: dict[str, Any]) -> None:
        found = _validated(InventoryMessage, message).inventory
        with unit_of_work():
            self._keep(found)

    def _keep(self, inventory: InventoryFound) -> None:
        computer = by_ids([self.connection.computer_id]).get(self.connection.computer_id)
        if computer is None:
            raise Goodbye(POLICY_VIOLATION, "the computer was deleted")
        fleet.store_inventory(computer, *inventory.parts())

    def on_samples(self, message: dict[str, Any]) -> None:
        """A batch: each sample is stored or refused for good; then everything up to the highest seq is acknowledged."""
        rows = message.get("samples")
        if not isinstance(rows, list) or not 1 <= len(rows) <= 500:
            raise Malformed("samples is a list of 1 to 500")
        good, refused, highest = [], {}, 0
        for row in rows:
            seq = row.get("seq") if isinstance(row, dict) else None
            if not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq < 2**63:
                raise Malformed("every sample has a seq")
            highest = max(highest, seq)
            try:
                good.append(_validated(SampleIn, row).sample(self.connection.computer_id))
            except Invalid as error:
                refused[seq] = error.errors[0].message if error.errors else error.message
        self._settle(good, refused, highest)

    def _settle(self, good: list[NewSample], refused: dict[int, str], highest: int) -> None:
        try:
            if good:
                self._store(good)
            if refused:
                reason = next(iter(refused.values()))
                with unit_of_work(power_safe=False):
                    fleet.contact(self.connection.computer_id, None if good else f"Its samples are refused: {reason}"[:300])
                self.send("samples_refused", seqs=sorted(refused), reason=reason)
        except Goodbye:
            raise
        except Exception as error:
            log.error("samples were not stored, the connector keeps them", error=str(error)[:300])
            self.send("retry", after=2.5)
            return
        self.send("samples_ack", seq=highest)

    def _store(self, samples: list[NewSample]) -> None:
        if writer_of(current_app).submit(samples):
            raise Goodbye(POLICY_VIOLATION, "the computer was deleted")
