"""RELIABILITY 18: a mailbox is bounded; whoever cannot keep up gets one `stale` a view, never a backlog."""

import threading
from types import SimpleNamespace

from app.actors import SYSTEM
from app.live.viewer import MAILBOX, Viewer


class Stuck:
    """A socket whose first send waits until it is let go."""

    def __init__(self) -> None:
        self.connected, self.sent = True, []  # type: bool, list[bytes]
        self.entered, self.free = threading.Event(), threading.Event()

    def send_frame(self, data: bytes) -> None:
        self.entered.set()
        assert self.free.wait(10)
        self.sent.append(data)

    def close(self, code: int, reason: str) -> None:
        self.connected = False

    def cut(self) -> None:
        self.connected = False


def test_a_full_mailbox_becomes_one_stale() -> None:
    socket = Stuck()
    viewer = Viewer(socket, SYSTEM, None)  # type: ignore[arg-type]
    viewer.views["fleet"] = SimpleNamespace(rev=9)  # type: ignore[assignment]
    writer = threading.Thread(target=viewer.write)
    writer.start()
    viewer.push(b"first")
    assert socket.entered.wait(10)
    for number in range(MAILBOX * 5):
        viewer.push(b"later %d" % number)
        assert len(viewer._mail) <= MAILBOX
    socket.free.set()
    for _ in range(500):
        if len(socket.sent) >= 2:
            break
        threading.Event().wait(0.01)
    viewer.close(1000, "")
    writer.join(10)
    assert socket.sent[0] == b"first"
    assert len(socket.sent) == 2
    assert b'"op":"stale"' in socket.sent[1]
    assert b'"rev":9' in socket.sent[1]
