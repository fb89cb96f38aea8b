"""Parts of pages that are rendered once for each set of values: the frame of a page, and what stands around a list's rows.

A part is a template that sees the values it is given and nothing else, and they are the key under which it is remembered. The
request, the session, its token and the person are out of its reach unless they are among the values: what it shows one person
can reach another only if all of that is the same.
"""

from collections.abc import Hashable

from cachetools import LRUCache
from jinja2 import Environment
from markupsafe import Markup

KEPT_CHARACTERS = 2_000_000
CONSTANTS = ("asset", "build", "dict", "namespace", "range")  # the globals that are the same for every request


class Parts:
    """The parts of an application's pages: the template global `part(name, **values)`. Values are hashable and never change."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment.overlay()
        self._environment.globals = {name: environment.globals[name] for name in CONSTANTS}
        self._kept: LRUCache[Hashable, Markup] = LRUCache(KEPT_CHARACTERS, getsizeof=len)

    def __call__(self, name: str, /, **values: Hashable) -> Markup:
        """The template with these values as HTML. Raises TypeError for a value that cannot be part of a key: a mutable one, or
        Markup, which would be equal to the same text unescaped."""
        key = (name, *values.items())
        html = self._kept.get(key)
        if html is None:
            if any(isinstance(value, Markup) for value in values.values()):
                raise TypeError(f"{name}: a part escapes what it is given")
            html = Markup(self._environment.get_template(name).render(values))  # noqa: S704 (rendered with autoescape)
            if len(html) < KEPT_CHARACTERS // 10:
                self._kept[key] = html
        return html
