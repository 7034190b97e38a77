"""Who may: the `allow` of the configuration as a test of a token's claims."""

from collections.abc import Mapping

from msgspec import Struct

from bridge.config.model import Allow
from bridge.rules.scope import Known


class Access(Struct, frozen=True, kw_only=True):
    """A compiled `allow`."""

    everyone: bool
    """Nothing is asked."""

    def permits(self, claims: Mapping[str, object], words: Mapping[str, str]) -> bool:
        """Tell whether these claims hold; `words` fill the `{words}` of the wanted values."""
        raise NotImplementedError


def compile_allow(allow: Allow, known: Known) -> Access:
    """Compile an `allow`; only `known.words` may stand in it. Raises `TemplateError` (path: the claim)."""
    raise NotImplementedError
