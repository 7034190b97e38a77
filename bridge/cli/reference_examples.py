"""The examples of docs/configuration.md: one for each section, as it stands in its file."""

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, str]] = {
    "Config": """\
amqp: {url: "${AMQP_URL}"}
http: {port: "${PORT:-8000}", origins: "https://portal.example"}
auth: {jwt: {secret: "${JWT_SECRET}"}}
include: [routes/*.yaml]
""",
    "Amqp": """\
amqp:
  url: "${AMQP_URL:-amqp://guest:guest@localhost:5672/}"
  confirm_timeout: 5s
""",
    "Stream": """\
amqp:
  stream: {name: bridge.events, max_age: 30m, max_bytes: 2GB}
""",
    "Recovery": """\
recovery: {window: 5m, sessions: 50000}
""",
    "State": """\
amqp:
  state: {name: bridge.state, max_age: 90d, max_bytes: 256MB}
""",
    "Queue": """\
amqp:
  source: queue
  queue: {prefix: bridge.events., expires: 1h}
""",
    "InvalidQueue": """\
amqp:
  invalid: {name: bridge.invalid, max_length: 50000}
""",
    "Http": """\
http:
  port: 8000
  paths: [/socket.io, /ws]
  origins: "https://portal.example, http://localhost:3000"
  trusted_proxies: "10.0.0.0/8, 192.0.2.7"
""",
    "Tls": """\
http:
  tls: {certificate: /etc/bridged/fullchain.pem, key: /etc/bridged/key.pem}
""",
    "Stats": """\
http:
  stats: {path: /api/v1/websocket/stats, namespace: /ws, allow: {roles: admin}}
""",
    "Auth": """\
auth:
  jwt: {secret: "${JWT_SECRET}"}
""",
    "Jwt": """\
auth:
  jwt:
    algorithms: [RS256]
    public_key: "${JWT_PUBLIC_KEY}"
    audience: portal
    aliases: {projects: project_access}
""",
    "Limits": """\
limits: {connections: 20000, payload: 256kB, outbox_age: 5s}
""",
    "History": """\
history: {max_bytes: 200MB, max_age: 30m}      # with amqp: {stream: {max_age: 30m}}
""",
    "Instances": """\
instances: {heartbeat: 5s}
""",
    "Log": """\
log: {format: json, level: warning}
""",
    "RouteFile": """\
exchange: shop.events
commands_exchange: shop.commands
schemas: shop                                   # schemas/shop.py
namespaces:
  /orders/{shop}:
    allow: {shops: "{shop}"}
    events:
      order.{shop}.created: {schema: OrderCreated}
    commands:
      cancel_order: {schema: CancelOrder, publish: "order.{shop}.cancel"}
""",
    "NamespaceAuth": """\
auth:
  late: {within: 10s}
  authenticated: {authenticated: {user_id: "{user.sub}", roles: "{user.roles:-[]}"}}
namespaces:
  /board:
    auth: {required: false}                       # open: everyone, without a token
  /ws:
    auth:
      query_token: true
      refuse_with: {connection_error: {error_code: "{error.code}", error_message: "{error.message}"}}
""",
    "Late": """\
auth:
  late: {within: 30s, hold: 4}
""",
    "NamespaceLimits": """\
limits:
  rate: [10/s, 100/min]
  connections_per_user: 5
  ban: {after: 10, within: 60s, duration: 300s}
""",
    "Ban": """\
limits:
  ban: {after: 20, within: 60s, duration: 10m}
""",
    "Errors": """\
errors:
  always: true
  events:
    RATE_LIMITED: {rate_limited: {message: "{error.message}", retry_after: "{error.retry_after}"}}
    "*": {error: {code: "{error.code}", message: "{error.message}"}}
  names: {FORBIDDEN: ACCESS_DENIED, UNKNOWN_ROOM: NO_SUCH_ROOM}
  ack: {status: error, error_code: "{error.code}", error_message: "{error.message}"}
""",
    "Namespace": """\
namespaces:
  /monitoring:
    allow: {permissions: monitoring:read}
    events:
      monitoring.{event:system_metrics|test_output}: {schema: Metrics, as: "{event}"}
""",
    "OnConnect": """\
namespaces:
  /ws:
    on_connect:
      join: ["user:{user.sub}", global]
      emit: {connected: {id: "{sid}", timestamp: "{now}"}}
""",
    "Room": """\
namespaces:
  /portal:
    rooms:
      project:{project}:
        allow: {projects: "{project}"}
        occupancy: true
""",
    "Presence": """\
namespaces:
  /portal:
    rooms:
      project:{project}:
        presence:
          joined: {user_joined: {user_id: "{user.sub}", project_name: "{project}"}}
          left: {user_left: {user_id: "{user.sub}", project_name: "{project}"}}
          grace: 5s
""",
    "Event": """\
namespaces:
  /ws:
    events:
      workflow.{id}.progress:
        schema: WorkflowProgress
        as: workflow.progress
        rooms: ["project:{body.project_id}"]
        otherwise: [global]
        max_age: 30s
""",
    "Command": """\
namespaces:
  /project/{project}:
    commands:
      resolve_approval:
        schema: ResolveApproval
        allow: {permissions: approvals:write}
        limit: [10/s]
        publish: project.{project}.approval.resolve
        set: {project_name: "{project}", resolved_by: "{user.sub}", resolved_at: "{now}"}
      subscribe: {schema: Room, join: "{body.room}", ack: {room: "{body.room}"}}
      draw:                                       # socket.emit("draw", board, bytes), to the others
        schema: Drawing                           # board: KeyWord, stroke: bytes
        args: [board, stroke]
        inside: "board:{body.board}"
        publish: "board.{body.board}.stroke"
        to: events
        body: "{body.stroke}"
        headers: {tenant: "{user.tenant}"}
      read_board:                                 # a service answers
        schema: Board
        request: "board.{body.board}.read"
        timeout: 3s
""",
}
"""One for each Struct of bridge/config, as it stands in its file."""
