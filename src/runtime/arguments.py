"""Types for numbers on the command line, with bounds and one-sentence errors."""

import argparse
from collections.abc import Callable
from decimal import Decimal, InvalidOperation


def whole_number(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return a type for ``argparse``: a whole number in ``least..most``."""

    def parsed(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:,} and {most:,}")
        return number

    return parsed


def amount(least: Decimal, most: Decimal) -> Callable[[str], Decimal]:
    """Return a type for ``argparse``: a sum of money in ``least..most``."""

    def parsed(text: str) -> Decimal:
        number = _decimal(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:,} and {most:,}")
        return number

    return parsed


def share(most: Decimal) -> Callable[[str], Decimal]:
    """Return a type for ``argparse``: a share of 0 to ``most``, written as 0.0005 or as 0.05%."""

    def parsed(text: str) -> Decimal:
        percent = text.strip().endswith("%")
        number = _decimal(text.strip().removesuffix("%")) / (100 if percent else 1)
        if not 0 <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{text} is a share of {float(number):g}, and it must be between 0 and {most}; 0.05 % is written "
                "0.0005 or 0.05%"
            )
        return number

    return parsed


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number
