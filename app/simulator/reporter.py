"""How simulated bots report over contract 003: until the server has taken each thing or refused it for good, one by one or in
lists. What was sent and not answered is sent again; registrations, ends and events with an id of their own count once."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import orjson

from app.simulator.post import Answer, Client
from app.simulator.tally import BotTally

GATHER_S = 0.25  # that a list waits for more
LIST_BYTES = 60_000  # lists up to 64 KiB are what the server takes quickest
PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # before trying again when the server says nothing about it
AGAIN = frozenset({429, 502, 503, 504})
APART = frozenset({400, 404, 413, 422})  # a list is refused whole for one bad item
REGISTER, END, EVENTS = "/api/sessions/register", "/api/sessions/end", "/api/events"


class Reporter:
    """Reports for one tenant, with its key. `batch` is the longest list of registrations or events; ends have no lists."""

    def __init__(self, client: Client, key: str, tally: BotTally, batch: int = 1) -> None:
        self._client, self._key, self._tally = client, key, tally
        self._resume_at = 0.0
        self._registers = Basket(batch, lambda items: self._in_a_list(REGISTER, items))
        self._events = Basket(batch, lambda items: self._in_a_list(EVENTS, items))

    async def register(self, body: bytes) -> bool:
        """Register a session; whether the server has it now."""
        return await self._registers.put(body)

    async def event(self, body: bytes) -> bool:
        """Log an event; whether the server has it now."""
        return await self._events.put(body)

    async def end(self, body: bytes) -> bool:
        """End a session; whether the server knows now."""
        return await self._alone(END, body)

    async def _in_a_list(self, path: str, items: list[bytes]) -> list[bool]:
        if len(items) == 1:
            return [await self._alone(path, items[0])]
        answer = await self._deliver(path, b"[" + b",".join(items) + b"]")
        if answer.status in APART:
            return [await self._alone(path, item) for item in items]
        return [self._taken(answer, len(items))] * len(items)

    async def _alone(self, path: str, item: bytes) -> bool:
        return self._taken(await self._deliver(path, item), 1)

    def _taken(self, answer: Answer, count: int) -> bool:
        if answer.status == 200:
            return True
        self._tally.refused[answer.status] += count
        self._tally.errors[answer.words] += count
        return False

    async def _deliver(self, path: str, payload: bytes) -> Answer:
        """Send until there is an answer other than "later"."""
        pause = PAUSE_S
        while True:
            while (left := self._resume_at - time.monotonic()) > 0:
                await asyncio.sleep(left)
            try:
                answer = await self._client.post(path, self._key, payload)
            except OSError as error:
                why, wait = "connection", pause
                self._tally.errors[str(error) or type(error).__name__] += 1
            else:
                if answer.status not in AGAIN:
                    self._tally.answered(answer.seconds)
                    return answer
                why, wait = str(answer.status), pause if answer.retry_after is None else answer.retry_after
            self._tally.retries[why] += 1
            pause = min(pause * 2, LONGEST_PAUSE_S)
            # The key's limit and the server's health are the same for everybody who reports here: all of them wait.
            self._resume_at = max(self._resume_at, time.monotonic() + wait)


class Basket:
    """Gathers what many sessions report into lists of up to `size`; whoever puts something in waits until it has arrived.

    `send` gets the items and returns for each whether the server has taken it. Two things of the same session are never on
    their way at once, so they arrive in order.
    """

    def __init__(self, size: int, send: Callable[[list[bytes]], Awaitable[list[bool]]]) -> None:
        self._size, self._send = size, send
        self._items: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def put(self, item: bytes) -> bool:
        """Send it, now or with others; whether it was taken."""
        if self._size == 1:
            return (await self._send([item]))[0]
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[bool] = loop.create_future()
        if self._bytes + len(item) > LIST_BYTES:
            self._flush()
        self._items.append((item, taken))
        self._bytes += len(item) + 1
        if len(self._items) >= self._size:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(GATHER_S, self._flush)
        return await taken

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        items, self._items, self._bytes = self._items, [], 0
        if items:
            task = asyncio.get_running_loop().create_task(self._carry(items))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _carry(self, items: list[tuple[bytes, asyncio.Future[bool]]]) -> None:
        try:
            results = await self._send([item for item, _ in items])
        except BaseException as error:
            for _, taken in items:
                if not taken.done():
                    taken.cancel() if isinstance(error, asyncio.CancelledError) else taken.set_exception(error)
            raise
        for (_, taken), result in zip(items, results, strict=True):
            if not taken.done():  # nobody may be waiting any more at the very end
                taken.set_result(result)


def event_body(session_id: str, number: int, kind: str, at: str, details: str) -> bytes:
    """Contract 003's event with an id of its own, the same whenever it is sent; `at` in ISO 8601, `details` as JSON."""
    return orjson.dumps({"session_id": session_id, "event_type": kind, "event_id": f"{session_id}:{number}", "timestamp": at,
                         "details": orjson.Fragment(details)})  # fmt: skip
