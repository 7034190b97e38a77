"""The TLS side of the port, from the two files that `http.tls` names."""

import ssl
from pathlib import Path

from bridge.config.model import Tls
from bridge.errors import ConfigError, Fault


def make_tls_context(tls: Tls, file: str) -> ssl.SSLContext:
    """Read certificate and key for TLS 1.2 and later; raises ConfigError with what is wrong with them.

    `file` is the configuration's name, as faults show it.
    """
    faults = []
    for name, path in (("certificate", tls.certificate), ("key", tls.key)):
        message = _explain_unreadable(Path(path))
        if message is not None:
            faults.append(Fault(file=file, path=f"http.tls.{name}", message=message))
    if faults:
        raise ConfigError(faults)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask for the passphrase of a key on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except ssl.SSLError as error:
        raise ConfigError([Fault(file=file, path="http.tls", message=_explain(error, tls))]) from error
    return context


def _explain_unreadable(path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return f"{path}: there is no such file (correct the path, or put the file there)"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror} (it must be readable for the daemon's user)"


def _explain(error: ssl.SSLError, tls: Tls) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {tls.key} does not belong to the certificate in {tls.certificate}"
    return (
        f"{tls.certificate} and {tls.key} are no certificate and its key, in PEM and without a passphrase: "
        f"{error.reason or 'not understood'}"
    )
