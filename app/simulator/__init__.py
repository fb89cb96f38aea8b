"""A simulated fleet: computers that do not exist, connected to the running server over the real connector protocol.

`machines` says what each computer is, `curves` what it measures at any moment, `fleet` makes the computers and their keys,
`wire` speaks WebSocket, `connector` the protocol, `command` runs it all. Everything follows from (seed, number, time).

And simulated bots: sessions of browser automation, reported over contract 003. `sites` is the world they move in, `bots` says
what each session is, `swarm` lets sessions begin, live and end, `reporter` gets every report through, `post` speaks HTTP.
"""
