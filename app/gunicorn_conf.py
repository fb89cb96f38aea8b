"""How gunicorn serves Binnacle: gevent, because thousands of sockets and slow clients cost it little (docs/decisions.md)."""

import os

bind = os.environ.get("BINNACLE_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("BINNACLE_WEB_PROCESSES", "1"))
worker_class = "app.gunicorn_worker.Worker"
worker_connections = 12_000
backlog = 2048
timeout = 60
graceful_timeout = 25
keepalive = 15
max_requests = 0
limit_request_line = 8190
limit_request_fields = 64
accesslog = None
errorlog = "-"
loglevel = "warning"
proc_name = "binnacle-web"
forwarded_allow_ips = ""
control_socket_disable = True
