"""Computers whose agent answers as a test says, and requests that wait in threads of their own."""

import threading
from typing import Any
from uuid import uuid4

import httpx
from serving import Agent, Server


class Machine:
    """A computer whose agent answers commands as the test says."""

    def __init__(self, served: Server, *, ours: bool = False, **fields: Any) -> None:
        self.served = served
        self.name = f"cmd-{uuid4()}"
        self.id, self.key = served.computer(self.name, **fields)
        self.ours = ours
        self.seen: list[dict[str, Any]] = []
        self.connect()

    def connect(self) -> None:
        self.agent = Agent(self.served, self.key)
        if self.ours:
            self.agent.send(
                type="hello", connector_id=str(uuid4()), version="t", interval=10, capabilities=["metrics", "commands"]
            )
            self.agent.read("hello_ok")

    def next(self, kind: str = "execute_command") -> dict[str, Any]:
        message = self.agent.read(kind)
        self.seen.append(message)
        return message

    def result(self, asked: dict[str, Any], output: str = "", exit_code: int | None = 0, **data: Any) -> None:
        self.agent.send(
            type="command_result", request_id=asked["request_id"], data={"output": output, "exit_code": exit_code} | data
        )
        self.agent.read("command_ack")

    def run(self, command: str = "ls -la", **body: Any) -> "Asked":
        return Asked(self.served, self.id, {"command": command} | body)

    def close(self) -> None:
        self.agent.ws.close()


class Asked:
    """A request that is under way in a thread of its own."""

    def __init__(self, served: Server, computer: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.answer: Any = None
        self.thread = threading.Thread(target=self._ask, args=(served, computer, body, headers or {"X-API-Key": served.key}))
        self.thread.start()

    def _ask(self, served: Server, computer: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        self.answer = httpx.post(f"{served.url}/api/v1/commands/{computer}", json=body, headers=headers, timeout=60)

    def done(self) -> Any:
        self.thread.join(60)
        return self.answer
