"""The program on a computer that samples its metrics and reports them to a Binnacle console.

It dials out over one WebSocket (docs/connector-protocol.md), keeps what it could not deliver in a bounded
spool on disk, and needs nothing of the console's code.
"""

__version__ = "0.1.0"
