"""The words that change what a sentence says, and those that say nothing by themselves. English."""

from __future__ import annotations

from fivefold.rag.grounding.stems import stem


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _stems(text: str) -> frozenset[str]:
    return frozenset(map(stem, text.split()))


def _numbered(text: str, start: int) -> dict[str, int]:
    return {word: value for value, word in enumerate(text.split(), start)}


ABBREVIATIONS = _words(
    "e.g i.e cf vs dr mr mrs ms prof st fig figs eq eqs ref refs sec ch vol no nos pp al approx ca resp dept incl"
    " ed eds a.m p.m"
)
"""Words whose full stop does not end a sentence."""

STARTERS = _words(
    "The This That These Those In We It A An They He She There Our However When If For To On As At No Both"
)
"""Words that begin a sentence even behind a single letter and a full stop."""

STOP = _words(
    "a an the this that these those and or of to in on at by for from with as is are was were be been being am it its"
    " their his her our your my we they he she you i them him us me do does did has have had having will would shall"
    " should can there here which who whom whose what when where how so such than then into onto also both each very"
    " too about between among within during through per via etc s"
)
"""Words that are not counted when two sentences are compared."""

FRAMING = _words(
    "according study studies author authors paper article document documents documentation text passage source sources"
    " report reports reported state states stated say says said note notes noted find found show shows showed shown"
    " describe describes described result results overall addition additionally furthermore moreover therefore thus"
    " hence specifically namely finally conclusion summary"
)
"""Words an answer may add to say where it has something from."""

NEGATIONS = _stems(
    "not never without neither nor nobody nothing nowhere non lack lacked absent absence fail failed cannot unlike"
    " instead false untrue incorrect wrong wrongly deny denied denies refute myth"
)
HEDGES = _stems(
    "may might could possibly perhaps probably likely unlikely rarely seldom hardly scarcely barely almost nearly some"
    " few sometimes partly partially potentially potential suggest seem appear hypothesize hypothesise assume whether"
    " claim allege believe thought suppose"
)
CONDITIONS = _stems("if unless except only provided until")
CONTRASTS = _stems("but although though whereas while however yet because since")

_SAME = {
    "not": "no none n't",
    "increase": "rise rose risen grow grew grown",
    "decrease": "fall fell fallen drop decline reduce reduction",
    "greater": "higher larger bigger",
    "smaller": "lower",
    "less": "fewer",
    "%": "percent percentage",
    "above": "exceed",
    "<=": "≤ ≦",
    ">=": "≥ ≧",
    "use": "employ utilise utilize",
    "begin": "start commence began begun",
    "assess": "evaluate examine",
    "aim": "goal objective purpose",
    "conduct": "perform",
    "allow": "permit",
    "need": "require",
    "obtain": "acquire",
    "keep": "retain kept",
    "remove": "delete",
    "whole": "entire",
    "method": "technique",
}
SAME = {stem(word): stem(one) for one, words in _SAME.items() for word in words.split()}
"""Words and signs that say the same."""

DIRECTIONS = _stems(
    "increase decrease greater smaller more less most least above below over under before after better worse best worst"
    " faster slower longer shorter earlier later older younger stronger weaker improve worsen gain lose up down"
    " positive negative first last maximum minimum highest lowest high low enable disable allow deny accept reject"
    " include exclude same different all every always < > <= >= = ≈ ± + → ←"
)
"""Words and signs whose opposite says the opposite."""

OPPOSITE_PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "mis", "a", "anti", "hypo", "hyper")
"""What turns a word into its opposite."""

NUMBERS = _numbered(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty",
    0,
)
TENS = {
    word: value * 10 for word, value in _numbered("twenty thirty forty fifty sixty seventy eighty ninety", 2).items()
}
SCALES = {
    stem(word): 10**power
    for word, power in {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}.items()
}
ORDINALS = _numbered("second third fourth fifth sixth seventh eighth ninth tenth", 2)

UNITS = {
    spelled: short
    for short, spellings in {
        "%": "%",
        "‰": "‰",
        "mg": "mg milligram milligrams",
        "kg": "kg kilogram kilograms",
        "g": "g gram grams",
        "µg": "µg μg mcg microgram micrograms",
        "ml": "ml millilitre millilitres milliliter milliliters",
        "l": "l litre litres liter liters",
        "mm": "mm millimetre millimetres millimeter millimeters",
        "cm": "cm centimetre centimetres centimeter centimeters",
        "m": "m metre metres meter meters",
        "km": "km kilometre kilometres kilometer kilometers",
        "µs": "µs μs us microsecond microseconds",
        "ms": "ms msec millisecond milliseconds",
        "s": "s sec secs second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "day": "day days d",
        "week": "week weeks wk wks",
        "month": "month months mo",
        "year": "year years yr yrs",
        "kb": "kb kilobyte kilobytes",
        "mb": "mb megabyte megabytes",
        "gb": "gb gigabyte gigabytes",
        "tb": "tb terabyte terabytes",
        "kib": "kib",
        "mib": "mib",
        "gib": "gib",
        "bit": "bit bits",
        "byte": "byte bytes",
        "°": "° degree degrees",
        "$": "$ dollar dollars usd",
        "€": "€ euro euros eur",
        "mmhg": "mmhg",
        "hz": "hz",
    }.items()
    for spelled in spellings.split()
}
"""How a unit is written, to how it is compared. Units are not converted into each other."""

MONTHS = {
    **_numbered("january february march april may june july august september october november december", 1),
    **_numbered("jan feb mar apr may jun jul aug sep oct nov dec", 1),
    "sept": 9,
}
