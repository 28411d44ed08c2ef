"""One name for each reason of an exit, used wherever a person reads one."""

from typing import Final

_NAMES: Final = {
    "stop_loss": "stop reached",
    "early_stop": "early stop",
    "break_even": "break-even stop",
    "trailing_stop": "trailing stop",
    "take_profit": "target reached",
    "take_partial": "partial target",
    "time_stop": "held its longest time",
    "daily_loss": "daily loss limit",
    "signal_sell": "sell signal",
    "signal_buy": "buy signal",
    "agent_sell": "agent said sell",
    "agent_buy": "agent said buy",
    "cut_loss": "loss without support",
    "liquidation": "liquidated",
    "unprotected": "no stop could stand",
    "by_hand": "closed by hand",
    "closed_at_exchange": "closed at the exchange",
    "deleveraged": "auto-deleveraged by the exchange",
    "foreign": "result of orders of others",
}


def exit_words(reason: str | None) -> str:
    """Return the reason of an exit in words; a reason without a name of its own is shown as it is written."""
    return _NAMES.get(reason or "", (reason or "").replace("_", " "))
