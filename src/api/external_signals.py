"""Receives signals of other programs: who sent them, how many, how old, each once; nothing here reaches an order.

A source is a key with the scope ``signal``. It shows it as a bearer token or in the path, or signs what it sends.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import orjson
from apiflask import APIFlask
from flask import Response, request

from src.api.auth import Attempts, Authenticator
from src.api.context import ApiContext, Caller, Params
from src.api.keys import SIGNAL, ApiKey
from src.api.operation import META_SCHEMA, ROOT, Operation
from src.api.parameters import ExternalSignalList
from src.api.problems import Refused
from src.api.serializers import FLAG, TEXT, Json, RowShape, closed, listed, plain
from src.api.trading_operations import paged
from src.domain.external_signals import DIRECTIONS, LONGEST_MESSAGE, LONGEST_NOTE, ExternalMessage, parse_message
from src.storage.external_signals import add_signal
from src.storage.tables import external_signals

log = logging.getLogger("src.api")

PATH: Final = "/signals/external"
ENDPOINTS: Final = frozenset({"post_external_signal", "post_external_signal_by_key"})
OLDEST_MS: Final = 120_000
AHEAD_MS: Final = 30_000
SIGNALS_A_MINUTE: Final = 60
_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
_ACCEPTED: Final = closed(
    {
        "accepted": plain(FLAG, "false: this message was received before; it counts once."),
        "source": TEXT,
        "symbol": TEXT,
        "direction": plain({"type": "integer", "enum": [-1, 0, 1]}, "1 rise, -1 fall, 0 neither any more."),
    }
)
ANSWER_SCHEMA: Final = closed({"data": _ACCEPTED, "meta": META_SCHEMA})
MESSAGE_SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {
        "symbol": plain(
            {"type": "string", "pattern": "^[A-Z0-9]{5,20}$"},
            "The contract; TradingView's `BINANCE:BTCUSDT.P` is understood.",
        ),
        "action": {"type": "string", "enum": list(DIRECTIONS)},
        "time": plain(
            {"type": "string", "format": "date-time"},
            f"When it was sent; older than {OLDEST_MS // 1_000} s is refused.",
        ),
        "id": plain({"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}, "The same for a repetition."),
        "note": {"type": "string", "maxLength": LONGEST_NOTE},
    },
    "required": ["symbol", "action", "time"],
}
_SIGNAL = RowShape(external_signals, leave_out=["bot_id", "message_key"])


class SignalReceiver:
    """Checks and stores one message at a time; safe to share between threads."""

    def __init__(self, source: ApiContext, authenticator: Authenticator) -> None:
        self._source = source
        self._authenticator = authenticator
        self._sent = Attempts(source.wall, SIGNALS_A_MINUTE)

    def receive(self, token: str | None = None) -> Response:
        """Answer the present request; ``token`` is the key of the path."""
        key = self._sender(token)
        if SIGNAL not in key.scopes:
            raise Refused(403, "This key has not the scope `signal`.")
        wait_s = self._sent.wait_s(key.id)
        if wait_s:
            raise Refused(429, f"At most {SIGNALS_A_MINUTE} signals a minute.", {"Retry-After": str(wait_s)})
        self._sent.note(key.id)
        message = self._message()
        with self._source.writer() as database:
            accepted = add_signal(database, key.name, message, self._source.now_ms())
        log.info(
            "external signal: source=%s symbol=%s direction=%s accepted=%s",
            *(key.name, message.symbol, message.direction, accepted),
        )
        data = {"accepted": accepted, "source": key.name, "symbol": message.symbol, "direction": message.direction}
        return Response(orjson.dumps({"data": data, "meta": self._source.meta()}), content_type="application/json")

    def _sender(self, token: str | None) -> ApiKey:
        address, headers = request.remote_addr or "", request.headers
        if token is not None:
            return self._authenticator.by_token(address, token)
        if "X-Signal-Signature" in headers:
            stamp = headers.get("X-Signal-Timestamp", "")
            if not stamp.isdecimal() or len(stamp) > 12:
                raise Refused(401, "X-Signal-Timestamp holds the seconds since 1970: it is signed too.", _CHALLENGE)
            key = self._authenticator.by_signature(
                address,
                headers.get("X-Signal-Source", ""),
                stamp.encode() + b"." + self._body(),
                headers["X-Signal-Signature"].removeprefix("sha256="),
            )
            self._refuse_old(int(stamp) * 1_000)
            return key
        kind, _, shown = headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise Refused(401, "Sign the message, or show a key with the scope `signal`.", _CHALLENGE)
        return self._authenticator.by_token(address, shown.strip())

    def _message(self) -> ExternalMessage:
        try:
            message = parse_message(self._body())
        except ValueError as error:
            raise Refused(422, f"Not understood: {error}.") from error
        self._refuse_old(message.sent_ms)
        return message

    def _body(self) -> bytes:
        if (request.content_length or 0) > LONGEST_MESSAGE:
            raise Refused(413, f"A message has at most {LONGEST_MESSAGE} bytes.")
        return request.get_data(cache=True)

    def _refuse_old(self, sent_ms: int) -> None:
        age_ms = self._source.wall.now_ms() - sent_ms
        if not -AHEAD_MS <= age_ms <= OLDEST_MS:
            raise Refused(
                409,
                f"The message is {age_ms / 1_000:.0f} s old, allowed are {OLDEST_MS // 1_000} s: send it at once, and "
                "set the sender's clock.",
            )


def add_routes(app: APIFlask, receiver: SignalReceiver) -> None:
    """Take signals at ``/signals/external``, and at the same address with a key behind it."""

    @app.post(ROOT + PATH)
    @app.doc(hide=True)
    def post_external_signal() -> Response:
        return receiver.receive()

    @app.post(f"{ROOT}{PATH}/<token>")
    @app.doc(hide=True)
    def post_external_signal_by_key(token: str) -> Response:
        return receiver.receive(token)


def describe_routes(spec: Any, refusals: Callable[[tuple[str, ...]], Json]) -> None:
    """Write both addresses into the contract; ``refusals`` returns the problem answers of these codes."""
    spec["components"]["schemas"] |= {"ExternalMessage": MESSAGE_SCHEMA, "ExternalSignalAnswer": ANSWER_SCHEMA}
    header = {"in": "header", "required": False, "schema": {"type": "string", "maxLength": 128}}
    signed = [
        {"name": "X-Signal-Source", "description": "The id of the key: the eight digits after `key_`."} | header,
        {"name": "X-Signal-Timestamp", "description": "Seconds since 1970."} | header,
        {"name": "X-Signal-Signature", "description": "HMAC-SHA256 of `timestamp.body`, hexadecimal."} | header,
    ]
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^key_[A-Za-z0-9_-]{52}$"},
    }
    spec["paths"][ROOT + PATH]["post"] = _described("post_external_signal", "Send a signal", signed, refusals)
    by_key = _described("post_external_signal_by_key", "Send a signal with the key in the address", [token], refusals)
    spec["paths"][f"{ROOT}{PATH}/{{token}}"] = {"post": by_key}


def _described(name: str, title: str, parameters: list[Json], refusals: Callable[[tuple[str, ...]], Json]) -> Json:
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/ExternalSignalAnswer"}}}
    request_id = {"X-Request-ID": {"description": "Under which the log knows this call.", "schema": {"type": "string"}}}
    message = {"schema": {"$ref": "#/components/schemas/ExternalMessage"}}
    codes = ("400", "401", "403", "409", "413", "422", "429", "500", "503")
    return {
        "operationId": name,
        "summary": title,
        "description": "A TradingView alert or the message of a script, JSON or plain text. It is a vote that a rule "
        "set may count, and a line of the scoreboard; it passes no gate and places no order.",
        "tags": ["Trading"],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": message}},
        "responses": {"200": {"description": title, "content": answer, "headers": request_id}} | refusals(codes),
        "security": [{"key": []}, {}],
    }


def list_external(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return a page of received signals, newest first."""
    wanted = (source.scope(None, asked.get("symbol")), asked.get("source"))

    def read(**page: Any) -> Any:
        return source.reports.external_signals(*wanted, **page)

    return paged(source, asked, _SIGNAL, read)


EXTERNAL_OPERATIONS: Final = (
    Operation(
        "get_external_signals",
        PATH,
        "Signals of other programs, newest first",
        "What TradingView alerts and own scripts sent: source, contract, direction (1 rise, -1 fall, 0 neither). "
        "A rule set counts none of it unless it names the source; `/forecasts/scores` says what each is worth.",
        list_external,
        listed(_SIGNAL.schema),
        ExternalSignalList,
        paged=True,
        untrusted=("note",),
    ),
)
