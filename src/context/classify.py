"""Classifies market figures as trend, regime and volatility; "unknown" when the figures are unknown.

Basis of the thresholds: BTC's perpetual, 2022-06 to 2024-06 in quarter-hours, has a 24 h volatility with median
2.1 %, lower quartile 1.5 % and upper fifth 3.0 %; its absolute 24 h change has median 1.1 % and upper fifth 2.9 %.
"""

from typing import Final

UNKNOWN: Final = "unknown"
_WEAK_MOVE: Final = 1.0
_STRONG_MOVE: Final = 3.0
_GREED: Final = 60
_FEAR: Final = 40
_CALM_VOLATILITY: Final = 1.5
_WILD_VOLATILITY: Final = 3.0


def btc_trend(change_24h: float | None) -> str:
    """Return ``up_strong up_weak sideways down_weak down_strong`` by a 24 h change in percent (1 and 3)."""
    if change_24h is None:
        return UNKNOWN
    if abs(change_24h) < _WEAK_MOVE:
        return "sideways"
    strength = "strong" if abs(change_24h) >= _STRONG_MOVE else "weak"
    return f"{'up' if change_24h > 0 else 'down'}_{strength}"


def market_trend(btc_change_24h: float | None, eth_change_24h: float | None, fear_greed_index: int | None) -> str:
    """Return ``bullish`` or ``bearish`` if more than half of the known votes agree, else ``neutral``.

    BTC and ETH vote from 1 percent on, the index from 60 (greed) and to 40 (fear). Without BTC it is unknown.
    """
    if btc_change_24h is None:
        return UNKNOWN
    votes = [_direction(btc_change_24h, _WEAK_MOVE)]
    if eth_change_24h is not None:
        votes.append(_direction(eth_change_24h, _WEAK_MOVE))
    if fear_greed_index is not None:
        votes.append(_mood(fear_greed_index))
    share = sum(votes) / len(votes)
    if share > 0.5:
        return "bullish"
    return "bearish" if share < -0.5 else "neutral"


def market_regime(btc_change_24h: float | None, eth_change_24h: float | None, fear_greed_index: int | None) -> str:
    """Return ``risk_on`` if the signs of risk appetite outweigh, else ``risk_off``, also on a tie.

    Signs: BTC up by 0.5 percent, ETH (the riskier of the two) doing better than BTC by 0.5, greed; each may also
    speak against. With fewer than two of BTC, ETH and the index known, the regime is unknown.
    """
    if btc_change_24h is None or (eth_change_24h is None and fear_greed_index is None):
        return UNKNOWN
    appetite = _direction(btc_change_24h, 0.5)
    if eth_change_24h is not None:
        appetite += _direction(eth_change_24h - btc_change_24h, 0.5)
    if fear_greed_index is not None:
        appetite += _mood(fear_greed_index)
    return "risk_on" if appetite > 0 else "risk_off"


def volatility_level(volatility_24h: float | None, change_24h: float | None) -> str:
    """Return ``high`` from 3 percent of realised 24 h volatility, ``low`` below 1.5, ``medium`` between.

    If the volatility is unknown, the absolute 24 h change is used, with 3 and 1.
    """
    if volatility_24h is not None:
        return _level(volatility_24h, _CALM_VOLATILITY, _WILD_VOLATILITY)
    return UNKNOWN if change_24h is None else _level(abs(change_24h), _WEAK_MOVE, _STRONG_MOVE)


def fear_greed_label(index: int) -> str:
    """Return a label for the index if its source gives none; sources use differing thresholds."""
    if index <= 25:
        return "Extreme Fear"
    if index <= 46:
        return "Fear"
    if index <= 54:
        return "Neutral"
    return "Greed" if index <= 75 else "Extreme Greed"


def _direction(change: float, threshold: float) -> int:
    return (change >= threshold) - (change <= -threshold)


def _mood(index: int) -> int:
    return (index >= _GREED) - (index <= _FEAR)


def _level(value: float, calm: float, wild: float) -> str:
    if value >= wild:
        return "high"
    return "low" if value < calm else "medium"
