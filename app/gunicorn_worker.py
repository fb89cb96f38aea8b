"""gunicorn's gevent worker, with a stop that ends sockets at once: they would hold the worker for its whole grace."""

from typing import Any

from gunicorn.workers.ggevent import GeventWorker


class Worker(GeventWorker):  # type: ignore[misc]
    """Not ready at once, sockets closed with 1001, requests under way finished (RELIABILITY 27)."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        import gevent

        gevent.spawn(self._say_goodbye)
        super().handle_exit(sig, frame)

    def _say_goodbye(self) -> None:
        import gevent

        from app.web.sockets import close_all

        wsgi = getattr(self, "wsgi", None)  # absent when it is asked to stop while it boots
        if wsgi is not None:
            getattr(wsgi, "config", {})["STOPPING"] = True
        while True:  # who dials again before the port is closed would hold us as well
            close_all(1001, "the server is restarting")
            gevent.sleep(0.2)
