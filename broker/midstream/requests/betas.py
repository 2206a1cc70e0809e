"""Names of Anthropic's beta features, which are sent to it in a header (PROTOCOL: Faces/Betas)."""

import re
from typing import Any, Final

from midstream.log.entries import Json
from midstream.requests.catalogue import split
from midstream.requests.request import UnfitRequestError

_NAME: Final = re.compile(r"[!-+\--~]{1,200}")
"""What may stand between the commas of a header."""
MOST_BETAS: Final = 50


class BetasError(UnfitRequestError):
    """The names cannot stand in a header."""

    at = "betas"


def refuse_betas(model: str, params: Json) -> None:
    """Refuse unless the `betas` of a request to Anthropic can be sent.

    Raises:
        BetasError: They cannot.
    """
    betas: Any = params.get("betas")
    if betas is None or split(model)[0] != "anthropic":
        return
    names = betas if isinstance(betas, list) else [None]
    if len(names) > MOST_BETAS or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise BetasError(f"`betas` are at most {MOST_BETAS} names of 1 to 200 characters of ASCII, without blanks.")
