"""The world that simulated bots move in: the sites they visit, and the proxies they go through. The same for every seed.

Hosts end in `.example` and addresses are those kept for documentation (RFC 2606, RFC 5737): nothing here is anybody's.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """A site that bots visit. `slow` multiplies its load times; `trouble` is the share of visits that fail by its own fault."""

    host: str
    weight: int
    slow: float
    trouble: float
    paths: tuple[str, ...]
    selectors: tuple[str, ...]
    texts: tuple[str, ...]
    goal: str

    @property
    def url(self) -> str:
        """Its front page."""
        return f"https://{self.host}/"


_SHOP = ("#search", ".product-card", "#add-to-cart", "#buy-now", "#checkout", ".price", "#cookie-accept")
_FORM = ("#username", "#password", "button[type=submit]", "#otp", ".form-error", "#continue")
_LIST = ("#search-box", ".result-row", "a.next-page", "#filter-price", ".sort-menu", "#map-toggle")
_FEED = (".post", "button.like", "#comment", ".profile-link", "#load-more", ".share")

SITES = (
    Site("www.northwind-shop.example", 18, 1.0, 0.012,
         ("/", "/c/shoes", "/c/jackets", "/p/trail-runner-4", "/p/rain-shell", "/cart", "/checkout"), _SHOP,
         ("trail shoes 43", "rain jacket", "gift card"), "price_read"),
    Site("www.kaufgut.example", 12, 1.2, 0.02, ("/", "/angebote", "/p/4711-wasserkocher", "/p/8150-lampe", "/warenkorb"), _SHOP,
         ("wasserkocher", "lampe 60 cm"), "stock_read"),
    Site("store.megabyte.example", 14, 0.9, 0.015, ("/", "/laptops", "/laptops/ultra-14", "/gpus", "/gpus/rx-980", "/basket"),
         _SHOP, ("gpu 16gb", "ultra 14", "usb-c dock"), "price_read"),
    Site("sneaker-drop.example", 9, 1.5, 0.05, ("/", "/drops", "/drops/2217-low", "/queue", "/checkout"), _SHOP,
         ("2217 low", "size 42"), "queue_joined"),
    Site("tickets.arena-live.example", 8, 1.6, 0.04, ("/", "/events", "/events/9913", "/events/9913/seats", "/order"), _LIST,
         ("block c", "two seats"), "seats_counted"),
    Site("www.fly-compare.example", 9, 1.8, 0.025, ("/", "/flights/BER-LIS", "/flights/JFK-LHR", "/flights/NRT-SFO", "/deals"),
         _LIST, ("BER LIS 12 May", "one way"), "fares_read"),
    Site("stays.homebridge.example", 8, 1.4, 0.02, ("/", "/s/lisbon", "/s/kyoto", "/rooms/48120", "/rooms/77102"), _LIST,
         ("lisbon 2 guests", "kyoto"), "calendar_read"),
    Site("jobs.talentboard.example", 6, 0.8, 0.01, ("/", "/jobs?q=python", "/jobs?q=nurse", "/jobs/55120", "/companies/acme"),
         _LIST, ("python remote", "nurse berlin"), "listings_read"),
    Site("app.socialpulse.example", 7, 1.1, 0.03, ("/login", "/feed", "/u/maria.k", "/explore", "/settings"), _FEED,
         ("great shot!", "hello from oslo"), "profile_warmed"),
    Site("accounts.mailhaven.example", 5, 0.8, 0.03, ("/signin", "/inbox", "/inbox?page=2", "/security", "/signout"), _FORM,
         ("k.meyer@mailhaven.example", "••••••••"), "signed_in"),
    Site("www.newsroom-daily.example", 5, 1.0, 0.008, ("/", "/world", "/business", "/business/rates-hold", "/sport"),
         _FEED, ("rates",), "headlines_read"),
    Site("search.lookaround.example", 6, 0.7, 0.02, ("/", "/results?q=plumber+near+me", "/results?q=best+vpn", "/maps/berlin"),
         _LIST, ("plumber near me", "best vpn"), "rank_read"),
)  # fmt: skip


@dataclass(frozen=True)
class Exit:
    """A proxy as bots name it. `works` is the share of sessions it carries; through `bad_for` it is blocked."""

    address: str
    country: str
    works: float = 0.993
    slow: float = 1.0
    bad_for: str = ""

    @property
    def shown(self) -> str:
        """Host and port without credentials, as error messages name it."""
        plain = self.address.rpartition("://")[2].rpartition("@")[2]
        return ":".join(plain.split(":")[:2])


_PLAIN = {
    "US": ("203.0.113.11:8080", "203.0.113.12:8080", "203.0.113.13:8080", "203.0.113.24:3128", "203.0.113.25:3128",
           "us-east.gate-pool.example:10001", "us-west.gate-pool.example:10002"),
    "DE": ("198.51.100.10:8080", "198.51.100.11:8080", "198.51.100.12:3128", "http://de.gate-pool.example:10011"),
    "GB": ("198.51.100.40:8080", "198.51.100.41:8080", "198.51.100.42:3128"),
    "FR": ("198.51.100.70:8080", "198.51.100.71:8080"),
    "NL": ("198.51.100.90:3128", "198.51.100.91:3128"),
    "CA": ("203.0.113.60:8080", "203.0.113.61:8080"),
    "BR": ("192.0.2.30:8080",),
    "JP": ("192.0.2.60:8080", "192.0.2.61:8080"),
}  # fmt: skip
_WITH_CREDENTIALS = (
    Exit("http://fleet-7:Qk2pVx81@203.0.113.101:12321", "US"),
    Exit("fleet-7:Qk2pVx81@203.0.113.102:12321", "US", slow=1.3),
    Exit("203.0.113.103:12321:fleet-7:Qk2pVx81", "US"),
    Exit("socks5://roam-de:n4-Wz9d@198.51.100.120:1080", "DE"),
    Exit("http://roam-gb:n4-Wz9d@198.51.100.121:8080", "GB", slow=1.2),
    Exit("socks5://roam-jp:n4-Wz9d@192.0.2.120:1080", "JP", slow=1.5),
)
_BAD = (  # altogether: dead, or nearly
    Exit("203.0.113.66:8080", "US", works=0.22, slow=2.5),
    Exit("198.51.100.66:3128", "DE", works=0.3, slow=2.0),
    Exit("http://fleet-3:old-Secret9@203.0.113.166:12321", "CA", works=0.08, slow=2.2),
    Exit("192.0.2.66:8080", "BR", works=0.25, slow=3.0),
)
_SHAKY = (
    Exit("203.0.113.77:8080", "US", works=0.68, slow=1.8),
    Exit("198.51.100.77:8080", "GB", works=0.74, slow=1.6),
    Exit("198.51.100.78:3128", "NL", works=0.7, slow=1.7),
)
_BLOCKED = (  # fine everywhere but at one site
    Exit("203.0.113.88:8080", "US", bad_for="sneaker-drop.example"),
    Exit("us-south.gate-pool.example:10003", "US", bad_for="tickets.arena-live.example"),
    Exit("198.51.100.88:8080", "DE", bad_for="www.kaufgut.example"),
    Exit("198.51.100.89:8080", "FR", bad_for="app.socialpulse.example"),
    Exit("192.0.2.88:8080", "JP", bad_for="www.fly-compare.example"),
)


def _all() -> Iterator[Exit]:
    for country, addresses in _PLAIN.items():
        for place, address in enumerate(addresses):
            yield Exit(address, country, slow=1.0 + 0.08 * place)
    yield from (*_WITH_CREDENTIALS, *_BAD, *_SHAKY, *_BLOCKED)


EXITS = tuple(_all())
EXITS_OF = {country: tuple(exit_ for exit_ in EXITS if exit_.country == country) for country in _PLAIN}
COUNTRIES = (("US", 34), ("DE", 18), ("GB", 13), ("FR", 8), ("NL", 7), ("CA", 8), ("BR", 4), ("JP", 8))
LOCALES = {"US": "en-US", "DE": "de-DE", "GB": "en-GB", "FR": "fr-FR", "NL": "nl-NL", "CA": "en-CA", "BR": "pt-BR",
           "JP": "ja-JP"}  # fmt: skip
DEVICES = (
    ("desktop", "Chrome 131", "1920x1080", 46), ("desktop", "Firefox 133", "1536x864", 10),
    ("desktop", "Edge 131", "1366x768", 8), ("mobile", "Chrome 131 (Android 14)", "412x915", 16),
    ("mobile", "Safari 18 (iOS 18)", "390x844", 13),
    ("tablet", "Safari 18 (iPadOS 18)", "820x1180", 7),
)  # fmt: skip
