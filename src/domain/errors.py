"""The suite's exceptions; each adapter turns its library's errors into one of these."""

from enum import StrEnum


class SuiteError(Exception):
    """Root of all failures the suite expects; its text is one sentence: what, where, what to do."""


class SettingsError(SuiteError):
    """The settings cannot be used; ``problems`` holds one sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ExchangeError(SuiteError):
    """Anything the exchange, or the way to it, did wrong."""


class ExchangeUnavailable(ExchangeError):
    """The exchange did not answer, or said it cannot; the request certainly had no effect."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class RateLimited(ExchangeUnavailable):
    """429 or 418: nothing may be sent for ``retry_after_s`` seconds."""


class OutcomeUnknown(ExchangeError):
    """An order was sent and nobody can say whether it was accepted: look it up by ``client_id`` first."""

    def __init__(self, reason: str, client_id: str) -> None:
        super().__init__(reason)
        self.client_id = client_id


class Rejection(StrEnum):
    """Why an exchange refused an order or a setting, in terms that every exchange has; adapters translate."""

    WOULD_TAKE = "it would be executed at once although it is post-only"
    WOULD_TRIGGER = "its trigger price is passed already"
    DUPLICATE_ID = "its client id was used before"
    ANOTHER_STANDS = "another order of its kind closes the position already"
    NOTHING_TO_REDUCE = "there is no position to reduce"
    NO_SUCH_ORDER = "the order is not known"
    NOT_LISTED = "the contract is not listed"
    CONTRACT_RULES = "price, quantity or contract do not follow the contract's rules"
    ACCOUNT_TERMS = "leverage, margin type or position mode stand against it"
    OTHER = "another reason"


class OrderRefused(ExchangeError):
    """The exchange certainly refused.

    ``code`` is the exchange's own, for people and logs (0 where the refusal is ours); code decides by ``rejection``.
    """

    def __init__(self, code: int, reason: str, rejection: Rejection = Rejection.OTHER) -> None:
        super().__init__(f"{reason} ({code})" if code else reason)
        self.code = code
        self.reason = reason
        self.rejection = rejection


class CredentialsRefused(ExchangeError):
    """Key, signature or permission is wrong; trying again cannot help."""


class SourceUnavailable(SuiteError):
    """A source of context (index, prices, news, model) is away; the number stays unknown."""


class StoreUnavailable(SuiteError):
    """The database cannot be read or written just now (locked, disk full); nothing was lost."""


class StoreUnwritable(StoreUnavailable):
    """File, folder or disk refuse the database (missing, full, read-only, not ours)."""


class StoreCorrupt(SuiteError):
    """The database is damaged; restore a backup before trading on."""


class ModelRefused(SuiteError):
    """The model file is missing, foreign or damaged; the agent recommends nothing (HOLD)."""


class DataRefused(SuiteError):
    """A file or row of market data is impossible; the store was not changed."""


class StrategyFailed(SuiteError):
    """A user's strategy cannot be loaded, raised an error, took too long or returned targets that cannot be."""
