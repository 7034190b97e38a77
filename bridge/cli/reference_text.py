"""The words of docs/configuration.md that no docstring holds."""

from typing import Final

INTRODUCTION: Final = """\
# Configuration

<!-- Made by `bridged docs` from the Structs of bridge/config; `make lint` holds it up to date. -->

The daemon reads one file, `config/bridge.yaml` unless `-c FILE` names another, and the *route files*
that it includes. `bridged check` lists every fault of all of them, with the place and the remedy; a
key that is not on this page is a fault.

- [`bridge.yaml`](#bridge): the daemon itself.
- [Route files](#system): one for each system of services, `config/routes/*.yaml`: which events go to
  whom, and which commands come back.
- [Values](#values): durations, sizes, rates, `${VARIABLES}`, `{templates}`, who may.
- [Exit codes](#exit-codes) of `bridged`.

In the tables, *required* means that there is no default, and `-` that nothing is set.
"""

BRIDGE: Final = """\
The daemon itself. Every key has a default; most files set a few of them:
"""

SYSTEM: Final = """\
A route file describes one *system*: one exchange of events, and the Socket.IO namespaces that show
them. Several files may say something of the same namespace: their events, commands and rooms are
added up, and two that say the same thing differently are a fault that names both files.
"""

VALUES: Final = """\
### Units

| what | written | |
| --- | --- | --- |
| duration | `250ms`, `10s`, `5m`, `2h`, `1d` | |
| size | `500B`, `64kB`, `1MB`, `2GB` | 1MB is 1,000,000 bytes |
| rate | `10/s`, `100/min`, `1000/h` | exact: it holds in every such window of time |

Where a list is wanted, a single element may stand without brackets: `limit: 10/s`.

### Variables

`${NAME}` is read from the environment, and it is a fault if it is not set; `${NAME:-default}` has a
default. They are put in after the file was parsed, so that no value can change its structure.

### Schemas

`schema: OrderPlaced` names a class of the module that `schemas:` names, `schemas/shop.py`. It is a
[msgspec](https://jcristharif.com/msgspec/) Struct; `schemas/common.py` holds what most of them need:

```python
from msgspec import UNSET

from .common import Command, Event, Id, KeyWord, Maybe


class OrderPlaced(Event):  # from a service: a field that is not named here is dropped
    order_id: Id
    note: Maybe[str] = UNSET  # may be absent or null, and goes on as it came


class CancelOrder(Command):  # from a browser: a field that is not named here is refused
    order_id: KeyWord  # may become a word of a routing key or of a room's name
```

`OpenEvent` and `OpenCommand` pass on the fields that they do not name.

### Templates

Room names, routing keys, payloads and stamps may hold `{placeholders}`:

| placeholder | is |
| --- | --- |
| `{project}` | a word of the routing key or of the namespace, captured by that name |
| `{body.task.id}` | a field of the event's or the command's body |
| `{body.events[]}` | one for each element of a list: one room each |
| `{header.tenant}` | a header of the message |
| `{message.id}` | the message's id |
| `{user.sub}`, `{user.projects[]}` | a claim of the client's token |
| `{sid}` | the client's Socket.IO id |
| `{now}`, `{now.ms}` | the time: ISO 8601 in UTC, milliseconds since 1970 |
| `{uuid}` | a new UUID |
| `{room.users}` | distinct users in the room that the command joins |
| `{room.last.state_change.new_state}` | a field of the room's last such event (see `remember`) |
| `{room.last_activity}` | the time of the room's last event of any kind |
| `{reply}`, `{reply.title}` | what a service answered to a `request`, or a field of it |
| `{error.code}`, `{error.message}`, `{error.type}`, `{error.details}`, `{error.retry_after}` | a refusal |

`{x:-default}` stands in where `x` is missing, and may hold further placeholders:
`{body.project_name:-{user.projects[]}}`. A template that is one placeholder keeps the type of its value
(and its default is read as JSON, so `:-null` is null). A key of a mapping whose value is missing is left out;
a room whose value is missing is no room.

Values are quoted in room names, so that `a:b` and `c` never name the room of `a` and `b:c`. What a
client puts into a room or a routing key must be 1 to 128 characters without whitespace, control
characters, `.`, `#` or `*`.

A `join`, `leave` or `inside` that is exactly one placeholder of the body, `"{body.room}"`, is the whole
name of a room, as in `agent:7`. It must fit an entry of the namespace's `rooms`, with words that hold no `:`
either, else the command is UNKNOWN_ROOM.

### Routing keys and namespaces

In the key of an event, `{name}` is exactly one word, `{name:add|update|delete}` one of these, `*` any one
word and `#` any number of words. In a namespace, `{name}` is one path segment.

### Who may: `allow`

Claims of the token and what they must hold; several are *and*, a list of mappings is *or*, a list of
values is *any of*. A claim that is a list is asked for membership, and `"*"` in it matches all.

```yaml
allow: {projects: "{project}"}                        # the project of this namespace is among the token's
allow: {permissions: approvals:write, tenant: acme}   # both
allow: [{roles: [admin, auditor]}, {sub: "{id}"}]     # one of the two roles, or oneself
```

### Emits

`event: payload`, exactly one. The payload is any YAML value with templates in it.

```yaml
emit: {joined_project: {project_name: "{body.project_name}", active_users: "{room.users}"}}
```
"""
