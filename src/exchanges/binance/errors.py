"""Turns exceptions of python-binance and requests into the suite's own.

The criterion is whether an order that was sent may have had an effect. Only if it certainly had none may it be tried
again; everything else is ``OutcomeUnknown`` and is looked up by its client id.
"""

import re

from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ConnectTimeout, InvalidURL, RequestException, SSLError
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

from src.domain.errors import (
    CredentialsRefused,
    ExchangeError,
    ExchangeUnavailable,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
    Rejection,
)
from src.exchanges.binance.mapping import MALFORMED
from src.exchanges.binance.sdk import BinanceAPIException, BinanceRequestException

NO_CHANGE_CODES = frozenset({-4046, -4059})
GONE_CODES = frozenset({-2011, -2013})
CLOCK_CODE = -1021
ABSENT_CODE = -2013
NOT_LISTED_CODE = -1121
INVALID_INTERVAL_CODE = -1120
DUPLICATE_CODE = -4116

_RULE_CODES = (-1111, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4023, -4140, -4141, -4164)
_TERM_CODES = (-2027, -2028, -4028, -4047, -4048, -4061, -4067, -4068, -4161, -4168)
REJECTIONS = {
    -5022: Rejection.WOULD_TAKE,
    -2021: Rejection.WOULD_TRIGGER,
    DUPLICATE_CODE: Rejection.DUPLICATE_ID,
    -4130: Rejection.ANOTHER_STANDS,
    -2022: Rejection.NOTHING_TO_REDUCE,
    -4509: Rejection.NOTHING_TO_REDUCE,
    -2011: Rejection.NO_SUCH_ORDER,
    ABSENT_CODE: Rejection.NO_SUCH_ORDER,
    -1121: Rejection.NOT_LISTED,
    **dict.fromkeys(_RULE_CODES, Rejection.CONTRACT_RULES),
    **dict.fromkeys(_TERM_CODES, Rejection.ACCOUNT_TERMS),
}
_CREDENTIAL_CODES = frozenset({-1002, -1022, -2014, -2015})
_LIMIT_CODES = frozenset({-1003, -1015})
_UNKNOWN_CODES = frozenset({-1006, -1007})
_CERTAIN_FAILURE_CODES = frozenset({-1001, -1008, -1016})
_SERVER_CODES = _UNKNOWN_CODES | _CERTAIN_FAILURE_CODES | {-1000}
_CERTAIN_FAILURE_TEXT = "Service Unavailable"
_BANNED = re.compile(r"banned until (\d+)")
_WAF_PAUSE_S = 60.0
_LONGEST_RETRY_S = 259_200.0  # its longest ban is three days
LIBRARY_ERRORS = (BinanceAPIException, BinanceRequestException, RequestException, *MALFORMED)


def code_of(error: BaseException) -> int:
    """Return Binance's code of a failure of the library, 0 when it has none."""
    code = getattr(error, "code", None)
    return code if isinstance(code, int) else 0


def banned_until_ms(error: BaseException) -> int | None:
    """Return the instant named by "banned until", or None."""
    found = _BANNED.search(str(getattr(error, "message", "") or ""))
    return int(found[1]) if found else None


def retry_after_s(error: BaseException) -> float:
    """Return the seconds of a Retry-After header, 0 without one."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    text = str(headers.get("Retry-After", ""))
    return min(float(text[:9]), _LONGEST_RETRY_S) if text.isascii() and text.isdecimal() else 0.0


def is_limit(error: BaseException) -> bool:
    """Return whether the exchange reports a rate limit (429, 418, -1003, -1015)."""
    return getattr(error, "status_code", 0) in (418, 429) or code_of(error) in _LIMIT_CODES


def translated(error: BaseException, client_id: str | None = None) -> ExchangeError:
    """Return the suite's error for a failure of the library.

    Args:
        error: one of ``LIBRARY_ERRORS``.
        client_id: the id of the order that was being sent; None for a call that may be repeated.
    """
    if isinstance(error, BinanceAPIException):
        return _of_answer(error, client_id)
    if _never_sent(error):
        return ExchangeUnavailable(f"the exchange cannot be reached: {_reason(error)}")
    if client_id is not None:
        return OutcomeUnknown(f"no usable answer to order {client_id}: {_reason(error)}", client_id)
    return ExchangeUnavailable(f"no usable answer from the exchange: {_reason(error)}")


def _of_answer(error: BinanceAPIException, client_id: str | None) -> ExchangeError:
    code, status = code_of(error), int(error.status_code)
    text = " ".join(str(error.message or "no reason given").split())[:200]
    if is_limit(error):
        return RateLimited(f"the exchange refuses further requests: {text}", retry_after_s(error))
    if code in _CREDENTIAL_CODES or status == 401:
        return CredentialsRefused(
            f"the exchange refuses the API key, its signature or its permissions: {text} ({code})"
        )
    if status == 403:
        return ExchangeUnavailable("the exchange's firewall refuses this address (403)", _WAF_PAUSE_S)
    if code == CLOCK_CODE:
        return ExchangeUnavailable(f"the exchange does not accept our clock: {text}")
    if status < 500 and status != 408 and code not in _SERVER_CODES:
        return OrderRefused(code, text, REJECTIONS.get(code, Rejection.OTHER))
    if client_id is not None and not _certainly_failed(error, code, status):
        return OutcomeUnknown(f"order {client_id} may or may not stand: {text} (HTTP {status})", client_id)
    return ExchangeUnavailable(f"the exchange is in trouble: {text} (HTTP {status}, {code})", retry_after_s(error))


def _certainly_failed(error: BinanceAPIException, code: int, status: int) -> bool:
    if code in _UNKNOWN_CODES:
        return False
    return code in _CERTAIN_FAILURE_CODES or (status == 503 and str(error.message).startswith(_CERTAIN_FAILURE_TEXT))


def _never_sent(error: BaseException) -> bool:
    """Return whether nothing of the request was sent: no connection was made."""
    if isinstance(error, ConnectTimeout | SSLError | InvalidURL):
        return True
    cause = error.args[0] if isinstance(error, RequestsConnectionError) and error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | NameResolutionError)


def _reason(error: BaseException) -> str:
    if isinstance(error, BinanceRequestException):
        return "the answer is not JSON"
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else error
    text = " ".join(str(reason).rsplit(": ", maxsplit=1)[-1].split())
    return f"{type(reason).__name__}: {text[:160]}"
