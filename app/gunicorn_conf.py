"""How gunicorn serves Binnacle: gevent, because thousands of sockets and slow clients cost it little (docs/decisions.md)."""

import os
import resource
import sys
from typing import Any

bind = os.environ.get("BINNACLE_BIND", "127.0.0.1:8000")
_processes = os.environ.get("BINNACLE_WEB_PROCESSES", "1")
workers = int(_processes) if _processes.isdecimal() else 1  # anything else is refused by app.config, which says it better
worker_class = "app.gunicorn_worker.Worker"
worker_connections = 12_000
backlog = 2048
timeout = 60
graceful_timeout = 25
keepalive = 75  # longer than proxies and clients keep theirs, or they would use one that is just closing
max_requests = 0
limit_request_line = 8190
limit_request_fields = 64
accesslog = None
errorlog = "-"
loglevel = "warning"
proc_name = "binnacle-web"
forwarded_allow_ips = ""
control_socket_disable = True

# Every socket is an open file, and many systems allow 1,024 by default: take what may be taken.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _soft < 65_536:
    resource.setrlimit(resource.RLIMIT_NOFILE, (65_536 if _hard < 0 else min(_hard, 65_536), _hard))


def on_starting(_server: Any) -> None:
    """Check the settings before the port is open. In a child, since what reads them would stay in the master's memory."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from app.config import load_settings

            load_settings()
            status = 0
        except SystemExit as error:  # a ConfigError, which says what is wrong
            sys.stderr.write(f"{error.code}\n")
            sys.stderr.flush()
        finally:
            os._exit(status)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit(1)
