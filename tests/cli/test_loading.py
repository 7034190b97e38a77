"""Loading: broker addresses, schemas folders, and secrets that a command does not need."""

from pathlib import Path

import pytest

from bridge.cli.loading import explain_bad_url, find_schemas, load_project, load_settings, without_secret
from bridge.errors import ConfigError
from tests.support.daemon import CONFIG, SECRET


@pytest.mark.parametrize(
    "url",
    [
        "amqp://localhost",
        "amqp://guest:guest@localhost:5672/",
        "amqps://user:p%23ss@broker.example/vhost?cafile=/etc/ca.pem&no_verify_ssl=0",
        "amqp://[::1]:5672/%2Fportal",
    ],
)
def test_good_addresses_pass(url: str) -> None:
    """With and without port, user and virtual host."""
    assert explain_bad_url(url) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is no address of a broker"),
        ("localhost", "is no address of a broker"),
        ("amqp:/localhost", "is no address of a broker"),
        ("redis://localhost", "is no address of a broker"),
        ("amqp://:5672/", "names no host"),
        ("amqp://h/?auth=magic", "has an option of no use"),
        ("amqps://u:p@h/?no_verify_ssl=false", "no_verify_ssl= is 0, or 1 to trust everyone"),
        ("amqps://u:p@h/?cafle=/ca.pem", 'unknown option "cafle" (known: auth, cafile, capath, certfile, '),
        ("amqp://u:p@h/?cafile=/ca.pem", "means nothing without TLS (write amqps://)"),
        ("amqp://h:http/", "has no valid port"),
        ("amqp://h:99999/", "has no valid port"),
        ("amqp://u:a/b@h/", "has no valid port"),
        ("amqp://u:a/b", "has no valid port"),
        ("amqp://u:a#b@h/", "a raw # or ?"),
        ("amqp://u:a?b@h/", "a raw # or ?"),
    ],
)
def test_bad_addresses_say_what_is_wrong_and_show_no_password(url: str, words: str) -> None:
    """Characters of a password that break the address are the commonest fault."""
    message = explain_bad_url(url)
    assert message is not None
    assert words in message
    assert "a/b" not in message
    assert "a#b" not in message
    assert "a?b" not in message


def test_schemas_stand_beside_the_configs_folder_or_here(tmp_path: Path) -> None:
    """`--schemas` wins over both."""
    config = tmp_path / "etc" / "config" / "bridge.yaml"
    config.parent.mkdir(parents=True)
    assert find_schemas(config, None) == Path("schemas")
    beside = tmp_path / "etc" / "schemas"
    beside.mkdir()
    assert find_schemas(config, None) == beside
    own = tmp_path / "own"
    own.mkdir()
    assert find_schemas(config, own) == own


def test_settings_and_rules_load_from_the_shipped_config() -> None:
    """A command that verifies no token needs no secret."""
    assert load_project(CONFIG, None, {"JWT_SECRET": SECRET}).rules.routes
    assert load_settings(CONFIG, without_secret({})).amqp.url.startswith("amqp://")
    with pytest.raises(ConfigError):
        load_project(CONFIG, None, {})
