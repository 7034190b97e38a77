"""The files of `http.tls`: what is wrong with them is said with the file and the remedy."""

import ssl
from pathlib import Path

import pytest

from bridge.config.model import Tls
from bridge.errors import ConfigError
from bridge.web.tls import make_tls_context
from tests.support.certificates import make_certificate


def faults(certificate: Path, key: Path) -> list[str]:
    """What is wrong with two files."""
    with pytest.raises(ConfigError) as caught:
        make_tls_context(Tls(certificate=str(certificate), key=str(key)), "bridge.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_good_files_make_a_context_of_today(tmp_path: Path) -> None:
    """TLS 1.2 is the oldest version that is spoken."""
    certificate, key = make_certificate(tmp_path)
    context = make_tls_context(Tls(certificate=str(certificate), key=str(key)), "bridge.yaml")
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    """Both of them, at once."""
    one, two = tmp_path / "no.pem", tmp_path / "no.key"
    assert faults(one, two) == [
        f"bridge.yaml: http.tls.certificate: {one}: there is no such file "
        "(correct the path, or put the file there)",
        f"bridge.yaml: http.tls.key: {two}: there is no such file (correct the path, or put the file there)",
    ]


def test_folder_is_no_file(tmp_path: Path) -> None:
    """It cannot be read, and the reason is told."""
    _, key = make_certificate(tmp_path)
    assert "cannot be read: Is a directory" in faults(tmp_path, key)[0]


def test_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    """A renewal that replaced one of the two files only."""
    certificate, _ = make_certificate(tmp_path / "a")
    _, key = make_certificate(tmp_path / "b")
    assert faults(certificate, key) == [
        f"bridge.yaml: http.tls: the key in {key} does not belong to the certificate in {certificate}"
    ]


def test_files_of_another_form_are_told(tmp_path: Path) -> None:
    """No PEM; files in the wrong order; a key with a passphrase, for which nobody is asked."""
    certificate, key = make_certificate(tmp_path / "a")
    _, locked = make_certificate(tmp_path / "b", passphrase=b"secret")
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for pair in ((text, key), (certificate, text), (key, certificate), (certificate, locked)):
        assert "are no certificate and its key, in PEM and without a passphrase" in faults(*pair)[0]
