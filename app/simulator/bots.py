"""What each simulated session is: who browses what through which proxy, what happens when, how it ends.

Depends on (seed, number) only; its id also holds the run, so that a second run with the same seed adds sessions.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from app.simulator.chance import Dice, bits
from app.simulator.machines import TENANTS
from app.simulator.sites import COUNTRIES, DEVICES, EXITS_OF, LOCALES, SITES, Exit, Site

FEWEST, MOST = 5, 30  # events of a session
SHORTEST_S, LONGEST_S = 2.0, 120.0
PROFILES = 240  # of each tenant
_SITES = tuple((site, site.weight) for site in SITES)
_DEVICES = tuple(((kind, browser, screen), weight) for kind, browser, screen, weight in DEVICES)
_UNREACHED = ("net::ERR_PROXY_CONNECTION_FAILED", "net::ERR_TUNNEL_CONNECTION_FAILED", "net::ERR_CONNECTION_RESET",
              "net::ERR_EMPTY_RESPONSE")  # fmt: skip
_ACTS = (("click", 34), ("scroll", 30), ("type", 14), ("screenshot", 8), ("custom", 9), ("error", 1))


class Step(NamedTuple):
    """An event: when it happens in seconds since the session began, its type, its details as JSON text."""

    at: float
    kind: str
    details: str


@dataclass(frozen=True)
class Script:
    """A whole session. `register` is contract 003's body without the id, `duration` in seconds; `error` when it fails."""

    session_id: str
    tenant: str
    register: dict[str, Any]
    steps: tuple[Step, ...]
    duration: float
    error: str | None

    @property
    def success(self) -> bool:
        """Whether it ends well."""
        return self.error is None


def script(seed: int, number: int, run: int) -> Script:
    """The session of this number; `run` only makes its id."""
    dice = Dice(seed, number, 40)
    tenant = dice.pick(TENANTS)
    profile = dice.whole(1, PROFILES)
    own = Dice(seed, TENANTS.index(tenant), profile, 41)  # a profile always has the same device, country and favourites
    device, browser, screen = own.weighted(_DEVICES)
    country = own.weighted(COUNTRIES)
    site, exit_ = dice.weighted(_SITES), dice.pick(EXITS_OF[country])
    session_id = f"sim-{bits(seed, run, number):016x}"
    story = _Story(dice, site, exit_, session_id)
    target = site.url.rstrip("/") + dice.pick(site.paths[:3])
    error = story.tell(target, dice.whole(FEWEST, FEWEST + 8) + int((MOST - FEWEST - 8) * dice.unit() ** 1.8))
    register = {
        "profile_id": f"profile_{profile}", "device": device, "target_url": target, "proxy": exit_.address, "country": country,
        "metadata": {"simulated": True, "seed": seed, "number": number, "browser": browser, "screen": screen,
                     "locale": LOCALES[country]},
    }  # fmt: skip
    steps, duration = story.timed(dice.spread(1.0, 0.5))
    return Script(session_id, tenant, register, steps, duration, error)


class _Story:
    """Makes up the events of a session, each with the pause before it."""

    def __init__(self, dice: Dice, site: Site, exit_: Exit, session_id: str) -> None:
        self._dice, self._site, self._exit, self._session_id = dice, site, exit_, session_id
        self._rows: list[tuple[float, bool, str, dict[str, Any]]] = []  # pause in s, whether a person's pace stretches it, event
        self._url = ""

    def tell(self, target: str, count: int) -> str | None:
        """Make up about `count` events, FEWEST to MOST; returns the error that ends it, or None when all goes well."""
        dice, exit_ = self._dice, self._exit
        self._url = target
        if exit_.bad_for == self._site.host and dice.happens(0.9):
            return self._blocked(min(count, 9))
        if not dice.happens(exit_.works):
            return self._unreached() if dice.happens(0.8) else self._blocked(min(count, 9))
        if dice.happens(self._site.trouble):
            return self._broken(count)
        self._browse(count - 1)
        self._add(dice.between(0.1, 0.6), "custom", name=self._site.goal, items=dice.whole(1, 60))
        return None

    def timed(self, pace: float) -> tuple[tuple[Step, ...], float]:
        """The events with their times, and the duration in seconds; pauses stretch so that it lasts 2 to 120 s."""
        fixed = sum(pause for pause, stretches, _, _ in self._rows if not stretches)
        free = sum(pause for pause, stretches, _, _ in self._rows if stretches)
        tail = self._dice.between(0.05, 0.4)
        wanted = min(LONGEST_S, max(SHORTEST_S, fixed + free * pace + tail)) - fixed - tail
        stretch = max(0.02, wanted / free)
        steps, at = [], 0.0
        for pause, stretches, kind, details in self._rows:
            at += pause * stretch if stretches else pause
            steps.append(Step(round(at, 3), kind, orjson.dumps(details).decode()))  # its bytes would each hold a large block
        return tuple(steps), round(min(LONGEST_S, at + tail), 3)

    # -- what happens ------------------------------------------------------------------------------------------------

    def _add(self, pause: float, kind: str, *, stretches: bool = True, **details: Any) -> None:
        self._rows.append((pause, stretches, kind, details))

    def _browse(self, count: int) -> None:
        """Go from page to page and do something on each, until there are `count` events."""
        while len(self._rows) < count:
            self._open()
            for _ in range(min(self._dice.whole(1, 6), count - len(self._rows))):
                self._act()
            self._url = self._site.url.rstrip("/") + self._dice.pick(self._site.paths)

    def _open(self, status: int = 200) -> None:
        seconds = round(min(9.0, self._dice.spread(0.75, 0.5) * self._site.slow * self._exit.slow), 3)
        self._add(self._dice.between(0.15, 1.2), "navigation", url=self._url, status="started")
        self._add(seconds, "page_load", stretches=False, url=self._url, load_time_ms=round(seconds * 1000), status=status)

    def _act(self) -> None:
        dice = self._dice
        match dice.weighted(_ACTS):
            case "click":
                self._add(0.3 + dice.waiting(1.3), "click", selector=dice.pick(self._site.selectors), x=dice.whole(8, 380),
                          y=dice.whole(60, 800))  # fmt: skip
            case "scroll":
                self._add(0.2 + dice.waiting(1.0), "scroll", direction="up" if dice.happens(0.15) else "down",
                          pixels=dice.whole(2, 24) * 50)  # fmt: skip
            case "type":
                text = dice.pick(self._site.texts)
                self._add(0.3 + 0.12 * len(text) * dice.between(0.7, 1.5), "type", selector=self._site.selectors[0], text=text)
            case "screenshot":
                self._screenshot()
            case "custom":
                name = dice.pick(("cookies_saved", "item_found", "fingerprint_checked"))
                self._add(dice.between(0.1, 0.8), "custom", name=name, value=dice.whole(1, 90))
            case _:  # a stumble that the bot gets over
                self._add(dice.between(0.5, 3.0), "error", message=f"Selector not found: '{dice.pick(self._site.selectors)}', "
                          f"trying again in {dice.whole(5, 20) * 100} ms", fatal=False)  # fmt: skip

    def _screenshot(self) -> None:
        file = f"https://screens.example/{self._session_id}/{len(self._rows):02d}.png"
        self._add(self._dice.between(0.2, 0.9), "screenshot", url=file, page=self._url)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def _fatal(self, pause: float, message: str, *, stretches: bool = False) -> str:
        self._add(pause, "error", stretches=stretches, message=message, url=self._url, fatal=True)
        return message

    def _unreached(self) -> str:
        """The proxy does not get there: some attempts, each of which runs into the same wall or into a timeout."""
        dice = self._dice
        wall = f"{dice.pick(_UNREACHED)} at {self._url}"
        seconds = 0.0  # that each attempt takes; otherwise it fails quickly
        if dice.happens(0.25):
            seconds = dice.pick((10.0, 15.0, 20.0, 30.0))
            wall = f"Navigation timeout of {seconds * 1000:.0f} ms exceeded while loading {self._url}"
        elif "@" in self._exit.address and dice.happens(0.5):
            wall = f"Proxy {self._exit.shown} answered 407 Proxy Authentication Required"
        elif dice.happens(0.2):
            seconds = dice.whole(3000, 9999) / 1000
            wall = f"connect ETIMEDOUT {self._exit.shown} after {seconds * 1000:.0f} ms"
        attempts = 2 if seconds >= 10 else dice.whole(2, 4)
        for attempt in range(1, attempts + 1):
            self._add(dice.between(0.1, 0.6), "navigation", url=self._url, status="started", attempt=attempt)
            if attempt < attempts:
                self._add(seconds or dice.between(0.2, 4.0), "error", stretches=False, message=wall, url=self._url, fatal=False)
                self._add(dice.between(0.5, 3.0), "custom", name="retry", attempt=attempt + 1)
        return self._fatal(seconds or dice.between(0.2, 4.0), wall)

    def _blocked(self, count: int) -> str:
        """The site does not want it."""
        dice, host = self._dice, self._site.host
        self._browse(max(1, count - 4))
        self._open(status=dice.pick((403, 403, 200, 429)))
        self._screenshot()
        return self._fatal(dice.between(0.4, 6.0), dice.weighted((
            (f"Blocked by captcha at {self._url}", 5),
            (f"Blocked by captcha after {dice.whole(2, 5)} attempts on {host}", 3),
            (f"HTTP 403 from {host}: access denied (reference {bits(dice.whole(0, 1 << 30)):016x})", 3),
            (f"HTTP 429 from {host}: too many requests, retry after {dice.whole(3, 60) * 10} s", 2),
        )))  # fmt: skip

    def _broken(self, count: int) -> str:
        """Something on the page is not as expected."""
        dice, selector = self._dice, self._dice.pick(self._site.selectors)
        self._browse(max(2, min(count, MOST - 2) - 1))
        seconds = dice.pick((5, 10, 15, 30))
        message, pause = dice.weighted((
            ((f"Timeout {seconds * 1000} ms exceeded while waiting for selector '{selector}'", float(seconds)), 5),
            ((f"Selector not found: '{selector}'", dice.between(0.2, 2.0)), 4),
            ((f"Element '{selector}' is not clickable at point ({dice.whole(20, 900)}, {dice.whole(60, 800)})", 0.4), 2),
            ((f"HTTP {dice.pick((500, 502, 503))} from {self._url}", dice.between(0.3, 5.0)), 2),
            ((f"Unexpected redirect to {self._site.url}verify while on {self._url}", 0.7), 1),
            ((f"Page crashed: out of memory at {dice.whole(700, 2900)} MB", 0.2), 1),
        ))  # fmt: skip
        if dice.happens(0.5):
            self._screenshot()
        return self._fatal(pause, message)
