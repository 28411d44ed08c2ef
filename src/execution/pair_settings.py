"""What the exchange has set for one pair - its trading rules, leverage, margin type, position mode.

One object holds them for everybody who trades the pair, so that no copy grows old. They are compared with what the
bot was told to trade under before every entry, and whenever the exchange says or refuses something that contradicts
them. While the pair is flat a difference is set right; where that is not possible, entries of this pair alone are
refused, with the reason. Exits never ask.
"""

import logging
from typing import Final

from src.domain.clock import Clock
from src.domain.errors import ExchangeError, OrderRefused, Rejection
from src.domain.market import Instrument
from src.domain.ports import AccountTerms, Exchange

log = logging.getLogger(__name__)

_RULES_AGE_MS: Final = 3_600_000
_RULES: Final = frozenset({Rejection.CONTRACT_RULES, Rejection.NOT_LISTED})
_FIRST_PAUSE_MS: Final = 60_000
_LONGEST_PROBLEM_PAUSE_MS: Final = 600_000
_LONGEST_REFUSAL_PAUSE_MS: Final = 3_600_000


class PairSettings:
    """Rules and account settings of one pair, as the exchange last told them.

    Args:
        exchange: where they hold.
        clock: the exchange's.
        symbol: the contract; ``OrderRefused`` (``NOT_LISTED``) where the exchange does not list it.
        leverage: what the bot was told to trade with.
        margin_type: CROSSED or ISOLATED, likewise.
        not_wanted: why this pair must open nothing although it is managed, empty where it may.
    """

    def __init__(
        self, *, exchange: Exchange, clock: Clock, symbol: str, leverage: int, margin_type: str, not_wanted: str = ""
    ) -> None:
        self._exchange, self._clock = exchange, clock
        self._leverage, self._margin_type = leverage, margin_type
        self._not_wanted = not_wanted
        self.pause_reason = ""  # a person's, of this pair alone
        self._instrument = exchange.instrument(symbol)
        self._rules_read_ms = clock.now_ms()
        self._rules_doubt = False
        self._unlisted = ""
        self._doubt = True
        self._problem = ""
        self._problem_ms, self._problem_pause_ms = 0, 0
        self._refusal = ""
        self._refusal_ms, self._refusal_pause_ms = 0, 0

    @property
    def symbol(self) -> str:
        """The contract."""
        return self._instrument.symbol

    @property
    def instrument(self) -> Instrument:
        """The contract's trading rules as last read."""
        return self._instrument

    @property
    def halt_reason(self) -> str:
        """Why this pair may open nothing, with value and remedy; empty when it may."""
        return self._not_wanted or self._problem or (self._refusal if self._refusal_pauses() else "")

    def replace_leverage(self, leverage: int) -> None:
        """Trade with another leverage from the next entry on."""
        if leverage != self._leverage:
            self._leverage, self._doubt = leverage, True

    def refresh(self, flat: bool) -> None:
        """Compare again where there is a doubt; called each turn, asks the exchange only when it must.

        Args:
            flat: whether the pair has no position, so that a difference can be set right.
        """
        told = self._exchange.told_terms(self.symbol)
        differs = told is not None and told != (self._leverage, self._margin_type)
        if (differs or self._doubt or self._rules_doubt or self._problem) and not self._problem_pauses():
            self._compare(flat)

    def confirm(self) -> str:
        """Ask the exchange before an entry into a flat pair; return "" or why nothing may be opened now."""
        if self._not_wanted:
            return self._not_wanted
        before = self._instrument
        self._compare(flat=True)
        if not self._problem and self._instrument != before:
            return f"the exchange changed the trading rules of {self.symbol}; the next turn decides by the new ones"
        return self.halt_reason

    def note_refusal(self, error: OrderRefused) -> bool:
        """Take note that the exchange refused an order; return whether the trading rules are others now.

        Refusals that new rules do not explain are followed by a growing pause without entries.
        """
        if error.rejection not in _RULES | {Rejection.ACCOUNT_TERMS}:
            return False
        before = self._instrument
        self._doubt = True
        if error.rejection in _RULES:
            self._rules_doubt = True
            self._read_rules()
        changed = self._instrument != before
        if not changed:
            self._refusal_ms = self._clock.now_ms()
            grown = max(self._refusal_pause_ms * 2, _FIRST_PAUSE_MS)
            self._refusal_pause_ms = min(grown, _LONGEST_REFUSAL_PAUSE_MS)
            minutes = self._refusal_pause_ms // _FIRST_PAUSE_MS
            self._refusal = f"the exchange refused an order of {self.symbol}: {error}; tried again in {minutes} min"
        log.warning("order refused by rules: symbol=%s code=%d rules_changed=%s", self.symbol, error.code, changed)
        return changed

    def note_entry(self) -> None:
        """Take note that the exchange accepted an entry: rules and settings serve."""
        self._refusal, self._refusal_pause_ms = "", 0

    def _refusal_pauses(self) -> bool:
        return bool(self._refusal) and 0 <= self._clock.now_ms() - self._refusal_ms < self._refusal_pause_ms

    def _problem_pauses(self) -> bool:
        return bool(self._problem) and 0 <= self._clock.now_ms() - self._problem_ms < self._problem_pause_ms

    def _compare(self, flat: bool) -> None:
        """Ask for rules and settings, set right what differs if the pair is flat, and keep what is left as a reason."""
        was, now = self._problem, self._clock.now_ms()
        if self._rules_doubt or was or not 0 <= now - self._rules_read_ms < _RULES_AGE_MS:
            self._read_rules()
        try:
            self._problem = self._rules_problem() or self._terms_problem(flat)
        except ExchangeError as error:
            self._problem = f"the settings of {self.symbol} at the exchange could not be read: {error}"
        self._doubt, self._problem_ms = False, now
        grown = min(max(self._problem_pause_ms * 2, _FIRST_PAUSE_MS), _LONGEST_PROBLEM_PAUSE_MS)
        self._problem_pause_ms = grown if self._problem else 0
        if self._problem and self._problem != was:
            log.error("entries halted: symbol=%s reason=%s", self.symbol, self._problem)
        elif was and not self._problem:
            log.warning("entries allowed again: symbol=%s", self.symbol)

    def _read_rules(self) -> None:
        """Read the contract's rules anew; one that is not listed any more keeps its last ones."""
        try:
            self._exchange.reread_rules()
            found = self._exchange.instrument(self.symbol)
        except OrderRefused as error:
            self._unlisted = f"{self.symbol} is not listed at the exchange any more ({error.code})"
            return
        except ExchangeError as error:
            log.warning("trading rules not read: symbol=%s reason=%s", self.symbol, error)
            return
        self._rules_read_ms, self._rules_doubt, self._unlisted = self._clock.now_ms(), False, ""
        if found != self._instrument:
            log.warning("trading rules changed: symbol=%s before=%s now=%s", self.symbol, self._instrument, found)
            self._instrument = found

    def _rules_problem(self) -> str:
        if self._unlisted:
            return f"{self._unlisted}: take it out of TRADING_PAIRS"
        if self._instrument.status != "TRADING":
            return (
                f"{self.symbol} does not trade at the exchange (status {self._instrument.status}): nothing is opened "
                "there; take it out of TRADING_PAIRS if that lasts"
            )
        return ""

    def _terms_problem(self, flat: bool) -> str:
        found, refused = self._exchange.ask_terms(self.symbol), ""
        if flat and self._differs(found):
            log.info("settings differ, setting them: symbol=%s found=%s", self.symbol, found)
            try:
                self._exchange.prepare(self.symbol, self._leverage, self._margin_type)
            except OrderRefused as error:
                refused = f" (setting it was refused: {error})"
            found = self._exchange.ask_terms(self.symbol)
        return self._difference(found, refused)

    def _differs(self, found: AccountTerms) -> bool:
        return found != AccountTerms(self._leverage, self._margin_type, True, found.single_asset)

    def _difference(self, found: AccountTerms, refused: str) -> str:
        if not found.one_way:
            return (
                f"the account is in hedge mode, this bot trades in one-way mode{refused}: close the account's "
                "positions and orders and switch the position mode to one-way"
            )
        if not found.single_asset:
            return (
                "the account is in multi-assets mode, this bot's limits count one asset: switch the asset mode to "
                "single-asset"
            )
        if found.margin_type != self._margin_type:
            return (
                f"the margin type of {self.symbol} at the exchange is {found.margin_type}, MARGIN_TYPE says "
                f"{self._margin_type}{refused}: close position and orders of {self.symbol}, or set "
                f"MARGIN_TYPE={found.margin_type}"
            )
        if found.leverage != self._leverage:
            return (
                f"the leverage of {self.symbol} at the exchange is {found.leverage}, LEVERAGE says "
                f"{self._leverage}{refused}: close position and orders of {self.symbol}, or set "
                f"LEVERAGE={found.leverage}"
            )
        return ""
