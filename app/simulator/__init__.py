"""A simulated fleet: computers that do not exist, connected to the running server over the real connector protocol.

`machines` says what each computer is, `curves` what it measures at any moment, `fleet` makes the computers and their keys,
`wire` speaks WebSocket, `connector` the protocol, `command` runs it all. Everything follows from (seed, number, time).
"""
