"""JSON as the product writes it: times as RFC 3339 with a Z, models by their public names, NaN never."""

from typing import Any

import orjson
from pydantic import BaseModel


def dump(value: Any) -> bytes:
    """Anything that is JSON: models, lists of models, plain data. Raises TypeError for the rest."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is not JSON")
