"""Every server-to-client event of Summit's document, as it stands there, and those that it only names."""

from typing import NamedTuple

RUN = "run-1"
INVESTIGATION = "case-1"
"""Stand for the run and the investigation in the keys and bodies below."""

_SHARED: dict[str, object] = {
    "investigationId": INVESTIGATION,
    "user_id": "ann",
    "timestamp": "2026-11-20T10:00:00.000Z",
}
_UPDATE = b"\x01\x02\x00\xff\x80graph\x00"


class Example(NamedTuple):
    """An event as a service publishes it, and as browsers receive it."""

    key: str
    event: str
    body: dict[str, object] | bytes

    def of(self, run: str, investigation: str) -> "Example":
        """The same of another run and investigation."""

        def rename(text: object) -> object:
            return run if text == RUN else investigation if text == INVESTIGATION else text

        key = ".".join(str(rename(word)) for word in self.key.split("."))
        if isinstance(self.body, bytes):
            return self._replace(key=key)
        return self._replace(key=key, body={name: rename(value) for name, value in self.body.items()})

    def args(self, investigation: str) -> list[object]:
        """What the browser's handler is called with."""
        return [investigation, self.body] if isinstance(self.body, bytes) else [self.body]


_UPDATED: dict[str, object] = {"runId": RUN, "status": "RUNNING", "progress": 0.5, "timestamp": 1234567890}
_LOGGED: dict[str, object] = {
    "runId": RUN,
    "entry": {"level": "info", "message": "Processing step 1...", "timestamp": "2023-10-27T10:00:00Z"},
    "timestamp": 1234567890,
}
_STATUS: dict[str, object] = {"runId": RUN, "status": "COMPLETED", "timestamp": 1234567890}

RUN_EXAMPLES = [
    Example(f"maestro.run.{RUN}.update", "maestro:run_update", _UPDATED),
    Example(f"maestro.run.{RUN}.log", "maestro:log", _LOGGED),
    Example(f"maestro.run.{RUN}.status", "maestro:status_update", _STATUS),
]

INVESTIGATION_EXAMPLES = [
    Example(
        f"investigation.{INVESTIGATION}.presence.update",
        "presence:update",
        {**_SHARED, "cursor": {"x": 12.5, "y": -3}, "selection": ["node-1"], "status": None},
    ),
    *(
        Example(
            f"investigation.{INVESTIGATION}.{kind}.{action}",
            f"{kind}:{action}",
            {
                **_SHARED,
                "id": f"{kind}-1",
                "text": "größer \u2028 ✋",
                "deep": {"list": [None, True, 1.5, {}]},
            },
        )
        for kind in ("annotation", "comment")
        for action in ("add", "update", "delete")
    ),
    Example(f"investigation.{INVESTIGATION}.graph.update", "graph:update", _UPDATE),
    Example(f"investigation.{INVESTIGATION}.graph.awareness", "graph:awareness", _UPDATE[::-1]),
]

EXAMPLES = RUN_EXAMPLES + INVESTIGATION_EXAMPLES
