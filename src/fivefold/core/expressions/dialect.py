"""Text to sqlglot's tree, in a dialect with no functions of its own: every call arrives as a name and arguments."""

# sqlglot reads its settings from plain class attributes
# ruff: noqa: RUF012

from __future__ import annotations

import re

from sqlglot import exp, parser, tokens
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import TokenType

from fivefold.core.errors import Invalid

LONGEST = 10_000
NESTED = 32
_DEEPER = re.compile(r"[(\[{]|\bcase\b", re.IGNORECASE)
_SHALLOWER = re.compile(r"[)\]}]|\bend\b", re.IGNORECASE)


class Scalar(Dialect):
    """SQL scalar expressions and nothing else."""

    class Tokenizer(tokens.Tokenizer):
        KEYWORDS = {**tokens.Tokenizer.KEYWORDS, "//": TokenType.DIV}
        IDENTIFIERS = ['"']
        COMMANDS = set()

    class Parser(parser.Parser):
        FUNCTIONS = {}
        NO_PAREN_FUNCTIONS = {}
        NO_PAREN_FUNCTION_PARSERS = {"CASE": parser.Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
        FUNCTION_PARSERS = {"CAST": parser.Parser.FUNCTION_PARSERS["CAST"]}
        COLUMN_OPERATORS = {t: parser.Parser.COLUMN_OPERATORS[t] for t in (TokenType.DOT, TokenType.DCOLON)}


def tree_of(text: str) -> exp.Expr:
    """sqlglot's tree of one scalar expression.

    Raises Invalid with the position when the text is not one, is longer than 10,000 characters, or nests parentheses,
    calls and cases deeper than 32.
    """
    if not isinstance(text, str):
        raise Invalid(f"an expression is text, not {type(text).__name__}: {text!r}.")
    if len(text) > LONGEST:
        raise Invalid(
            f"an expression of {len(text)} characters is too long (at most {LONGEST}).",
            hint="Split it into several derived columns.",
        )
    if "\0" in text:
        raise Invalid("an expression cannot hold the character NUL.")
    _check_nesting(text)
    try:
        trees = Scalar().parser().parse_into(exp.Condition, Scalar().tokenize(text), text)
    except (ParseError, TokenError) as error:
        raise _syntax(text, error) from None
    except RecursionError:
        raise _too_deep() from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # sqlglot trips over some malformed texts where it means to refuse them
        raise Invalid(f"{text!r} is not an SQL expression.", hint="Look for a stray bracket or brace.") from error
    if len(trees) != 1 or trees[0] is None:
        raise Invalid(f"{text!r} is not one expression.", hint="Write a single SQL scalar expression, such as a + 1.")
    return trees[0]


def _check_nesting(text: str) -> None:
    """Count before parsing: sqlglot recurses, some twenty frames a level."""
    depth = deepest = 0
    try:
        for token in Scalar().tokenize(text):
            if token.token_type in (TokenType.STRING, TokenType.IDENTIFIER):
                continue
            if _DEEPER.fullmatch(token.text):
                depth += 1
                deepest = max(deepest, depth)
            elif _SHALLOWER.fullmatch(token.text):
                depth -= 1
    except TokenError as error:
        raise _syntax(text, error) from None
    if deepest > NESTED:
        raise _too_deep()


def _too_deep() -> Invalid:
    return Invalid(
        f"an expression is nested too deeply (at most {NESTED} levels of parentheses, calls and cases).",
        hint="Split it into several derived columns.",
    )


def _syntax(text: str, error: ParseError | TokenError) -> Invalid:
    first = error.errors[-1] if isinstance(error, ParseError) and error.errors else {}
    line, column, near = first.get("line"), first.get("col"), first.get("highlight")
    if line is None or column is None:
        return Invalid(
            f"{text!r} is not an SQL expression.", hint="Look for a missing operand, quote or parenthesis at its end."
        )
    expected = str(first.get("description") or "")
    expected = f" ({expected.lower()})" if expected.startswith("Expect") else ""
    return Invalid(
        f"{text!r} is not an SQL expression: it breaks at line {line}, column {column}, near {near!r}{expected}.",
        hint="Names with spaces go in double quotes, text in single ones.",
    )
