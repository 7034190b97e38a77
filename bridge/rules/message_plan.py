"""Decides, purely, what message a command becomes, with stamps and headers; reads a service's reply."""

from typing import Final

import msgspec
from msgspec import DecodeError

from bridge.errors import Code
from bridge.model import Principal, PublishMessage, Refuse, Reply, Request
from bridge.rules.bodies import to_refuse, to_validation_refuse
from bridge.rules.commands import CommandRule
from bridge.rules.content import BINARY, is_json
from bridge.rules.namespaces import NamespaceRules
from bridge.rules.publishing import PublishRule
from bridge.rules.scope import MISSING, BadValue, Scope

_LONGEST_ERROR: Final = 1000
"""Characters of a service's own text that reach a client."""


def plan_message(
    namespace: NamespaceRules, rule: CommandRule, principal: Principal, scope: Scope
) -> PublishMessage | Request | Refuse | None:
    """The message that a command becomes, if any; `scope.message` holds its id."""
    publish = rule.publish
    if publish is None:
        return None
    key = publish.key.render(scope)
    if isinstance(key, BadValue):
        return to_refuse(key)
    try:
        body, content_type = _render_body(rule, publish, scope)
    except RecursionError:  # encoding gives up a few levels before decoding does
        return to_validation_refuse("JSON is nested too deeply")
    message = PublishMessage(
        exchange=publish.exchange,
        routing_key=key,
        body=body,
        message_id=str(scope.message["id"]),
        type=rule.name,
        timestamp=scope.now,
        headers=_render_headers(namespace, publish, principal, scope),
        content_type=content_type,
    )
    return message if publish.timeout is None else Request(message=message, timeout=publish.timeout)


def read_reply(reply: Reply) -> object | Refuse:
    """What a service answered, as any JSON value or bytes; or the refusal that it amounts to."""
    if reply.error is not None:
        message = reply.error[:_LONGEST_ERROR] or "The service refused the request"
        return Refuse(code=Code.REJECTED, message=message)
    if reply.content_type == BINARY:
        return reply.body
    unreadable = Refuse(code=Code.INTERNAL, message="The service's answer could not be read")
    if not is_json(reply.content_type):
        return unreadable
    if not reply.body:
        return None
    try:
        value: object = msgspec.json.decode(reply.body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return unreadable
    return value


def _render_body(rule: CommandRule, publish: PublishRule, scope: Scope) -> tuple[bytes, str]:
    """The body and its content type."""
    if publish.body is None:
        return _stamp(rule, scope), "application/json"
    value = publish.body.render(scope)
    if isinstance(value, bytes):
        return value, BINARY
    return msgspec.json.encode(None if value is MISSING else value), "application/json"


def _stamp(rule: CommandRule, scope: Scope) -> bytes:
    """The body as it is published; what the bridge stamps wins, and nothing of the client's is left there."""
    body: dict[str, object] = {} if scope.body is MISSING else msgspec.to_builtins(scope.body)
    for name in rule.overwritten:
        body.pop(name, None)
    stamps = None if rule.stamps is None else rule.stamps.render(scope)
    if isinstance(stamps, dict):
        body.update(stamps)
    return msgspec.json.encode(body)


def _render_headers(
    namespace: NamespaceRules, publish: PublishRule, principal: Principal, scope: Scope
) -> dict[str, str]:
    headers = {}
    for name, template in publish.headers:
        text = template.render(scope)
        if isinstance(text, str):
            headers[name] = text
    headers["x-sid"] = scope.sid or ""
    headers["x-namespace"] = namespace.name.render(scope.words) or ""
    if principal.user:
        headers["x-user"] = principal.user
    return headers
