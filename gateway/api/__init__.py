"""The gateway's link: a Unix socket on which consoles and commands talk to it.

Purpose. Two halves. The link: messages (`protocol`), the gateway's end (`server`, `session`, `consoles`), the client's
ends (`client` for a console, `ask` for a short command), the sockets (`discovery`, `socket_file`), who is at the other
end (`peer`). And requests: `dispatcher` looks each up in the table of `permissions`, checks the role
(`roles`) and calls its handler: `queries`, or one of four groups of commands, which share `command_log`.

Inputs. Frames: a 4-byte big-endian length, at most 1 MiB, and a msgpack document. The kernel says who sends
them (SO_PEERCRED); roles are Unix groups, looked up at every command.
Outputs. Answers to requests; snapshots at the rate a client wants (the latest wins), plans and events as they come;
orders, reservations and requests to the islanding state machine; rows of the audit.
Units. As in `gateway`; a client's `rate_hz` is in snapshots per machine second.

Must not import: the control loop, the planner or any other service. Requests act on them by the protocols of
`interfaces`. The link's half imports nothing of the requests' half, and no short command loads anything heavy.
"""
