"""`/api/v1/agents/ws` and the enrolment endpoint."""

from app.actors import Actor, Permission
from app.connectors import bp, operations
from app.connectors.schemas import Enrol, Enrolled
from app.connectors.session import serve
from app.web import access, limits, sockets
from app.web.sockets import CONNECTOR_MAX_BYTES, Socket


@sockets.route(bp, "/api/v1/agents/ws", permission=Permission.PUBLIC, max_bytes=CONNECTOR_MAX_BYTES)
def agents_ws(socket: Socket, who: Actor) -> None:
    """The socket of connectors and original agents; a key in the handshake spares the `auth` message."""
    serve(socket, who)


@bp.api("POST", "/api/v1/agents/enrol", permission=Permission.PUBLIC, body=Enrol, returns=Enrolled, status=201)
def enrol(body: Enrol) -> Enrolled:
    """Spend a one-time enrolment token: a new computer and its host key, shown once."""
    limits.take(30, 60, "enrol", access.address())
    computer, key = operations.enrol(body.token, body.hostname, body.os, actor=access.actor())
    return Enrolled(server_id=computer.uuid, name=computer.name, key=key, interval=computer.interval_s)
