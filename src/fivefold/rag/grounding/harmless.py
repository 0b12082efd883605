"""What may be shown: text that loads nothing and leads nowhere when a page renders it as Markdown.

An answer that renders an image or a link chosen by a retrieved text sends what is in it to whoever wrote that text, so
such sentences are withheld whatever they say. Links to places of the same site by a plain path are kept.
"""

from __future__ import annotations

import re
import unicodedata

_LEADS_OUT = re.compile(
    r"""
    !\[                                  # an image
  | \w:(?:/|\\)[/\\]                     # any scheme
  | (?:\b|_)(?:javascript|data|vbscript|mailto|file)\s*:(?=\S)
  | \bwww\.                              # what Markdown links by itself
  | <[a-z/!?]                            # HTML
  | \](?=\()(?!\((?!//)[\w./#-]+\))      # a link that is not a plain path
  | \]\s?\[(?!\d{1,4}[\],])              # a link by reference
  | ^[ \t]*\[[^\]]+\]:                    # what a reference leads to
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_TO_A_MODEL = re.compile(
    r"""
    \b(?:ignore|disregard|forget|override)\b[^.!?]{0,40}\b(?:instruction|prompt|previous|above|prior|rule|context|guideline)
  | \b(?:system|developer)\s+(?:prompt|message|instruction)
  | \byou\s+are\s+(?:now|an?\s+(?:ai|assistant|language))
  | \b(?:as|dear)\s+(?:an?\s+)?(?:ai|assistant|language\s+model)\b
  | \b(?:new|updated|real)\s+instructions?\b
  | \b(?:respond|reply|answer|output|print|repeat|say)\s+(?:only\s+)?(?:with|exactly|the\s+(?:following|word))\b
  | \b(?:tell|inform|instruct|ask|send|show|urge)\s+(?:the\s+)?(?:user|reader|human|caller)\b
  | \bdo\s+not\s+(?:tell|mention|reveal|cite|answer)\b
  | <\|?/?(?:im_start|im_end|system|user|assistant|inst)\b
  | ^\s*(?:system|assistant|user|human)\s*:
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_KEPT = "\t\n\r\u200c\u200d"
"""Characters of these classes that writing needs: white space, and the joiners of scripts and emoji."""


def harmless(text: str) -> bool:
    """Whether a sentence may be shown: no image, no link that leads out, no HTML, no hidden characters."""
    return not _LEADS_OUT.search(text) and not any(
        unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") and c not in _KEPT for c in text
    )


def addresses_a_model(text: str) -> bool:
    """Whether a sentence reads as an order to a model. A signal by known phrases: it misses what it does not know."""
    return bool(_TO_A_MODEL.search(text))
