"""What a content type says of a body: JSON, or bytes that are passed on as they are."""

from typing import Final

BINARY: Final = "application/octet-stream"

_JSON: Final = frozenset({None, "", "application/json", "text/json", "text/plain"})
_BYTES: Final = frozenset({None, "", BINARY})


def is_json(content_type: str | None) -> bool:
    """Whether a body of this type may be JSON; one without a type may be."""
    if content_type in _JSON:
        return True
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in _JSON or kind.endswith("+json")


def may_be_bytes(content_type: str | None) -> bool:
    """Whether a body of this type may be passed on as it is."""
    return content_type in _BYTES or not is_json(content_type)
