"""Work that would hold up every request: run on a real thread while gevent serves them."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def off_the_loop(function: Callable[..., T], *args: Any) -> T:
    """`function(*args)`, on a real thread when gevent serves the requests; what it raises is raised here. It may use nothing that
    belongs to a greenlet: no session, no lock, no request."""
    from gevent import monkey

    if not monkey.is_module_patched("threading"):
        return function(*args)
    from gevent import get_hub

    value, error = get_hub().threadpool.apply(_caught, (function, args))
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]


def _caught(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """Answers instead of raising: gevent's thread pool would write every error to stderr as well."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error
