#!/bin/sh
# Publishes one event from a shell: `examples/publish.sh [EXCHANGE KEY BODY]`. The broker is AMQP_URL's.
# `bridged publish` needs nothing but what `make setup` installs, and exits with 4 when nobody listens.
# Where the broker has its management plugin, `rabbitmqadmin publish` does the same.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)

exchange=${1:-swe.events}
key=${2:-agent.gpt-4.status_changed}
body=${3:-'{
  "type": "agent.status_changed",
  "timestamp": "'"$now"'",
  "source": "agent_service",
  "data": {
    "agent_id": "gpt-4",
    "agent_name": "GPT-4 Code Analyst",
    "status": "online",
    "availability": 85,
    "metadata": {"host": "'"$(uname -n)"'"}
  }
}'}

exec "$here/.venv/bin/bridged" publish "$exchange" "$key" --body "$body" -c "$here/config/bridge.yaml"
