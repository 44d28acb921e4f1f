"""Choose the language of a page from what a browser likes."""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

_ACCEPT_LANGUAGE_LENGTH: Final = 256


class Language(StrEnum):
    """Name a language that the pages speak."""

    ZH = "zh"
    EN = "en"


_RANGE: Final = re.compile(
    r"\s*([a-z]{1,8}|\*)(?:-[a-z0-9]{1,8})*\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?", re.IGNORECASE
)


def read_language(accept_language: str) -> Language:
    """Choose the language that an `Accept-Language` header likes best: Chinese when it names no language.

    Who names languages and no Chinese is given English, also where English is none of them.

    Shapes: of two with the same weight, the first named wins; what cannot be read is passed over.
    """
    # The header is a stranger's: only its beginning is read and remembered.
    return _read_language(accept_language[:_ACCEPT_LANGUAGE_LENGTH])


@lru_cache(maxsize=1024)
def _read_language(header: str) -> Language:
    weights: dict[str, float] = {}
    for part in header.split(","):
        if liked := _RANGE.fullmatch(part):
            name, weight = liked[1].lower(), float(liked[2] or 1)
            weights[name] = max(weight, weights.get(name, 0.0))
    liked_ones = {name for name, weight in weights.items() if name != "*" and weight > 0}
    if liked_ones and Language.ZH.value not in liked_ones:
        return Language.EN
    named = list(weights)
    others = weights.get("*", 0.0)

    def liking(language: Language) -> tuple[float, int]:
        name = language.value if language.value in weights else "*"
        return weights.get(name, others), -named.index(name) if name in weights else 0

    best = max(Language, key=liking)
    return best if liking(best)[0] > 0 else Language.ZH
