"""Renews the pictures of the page in ``docs/img``, or serves the scene that they show: by hand, not in the tests.

``python -m tests.dashboard.pictures`` draws; ``python -m tests.dashboard.pictures serve`` waits for a visitor until
Ctrl-C, for Lighthouse or for a look.
"""

import random
import sys
import tempfile
import threading
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from src.charts.generator import ChartGenerator
from src.domain.clock import ManualClock, SystemClock
from src.storage.rows import NewsArticle
from src.storage.tables import account_balance, daily_performance, news_articles, signals, trades
from tests.dashboard.browsing import FLAGS, Watched, chromium
from tests.dashboard.scene import SYMBOL, Scene, served

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "img"
HEADLINES = (
    ("Exchange inflows fall to the lowest of the quarter", "bullish", 0.52),
    ("Regulator postpones its ruling on staking", "neutral", -0.04),
    ("Miners sell into strength for the third week", "bearish", -0.38),
    ("Futures premium widens as volume returns", "bullish", 0.31),
)
HELD_S = 1_800
ENTRY_FEE = Decimal("2.52")
REASONS = (
    ("HOLD", 1, "HOLD", 0.44, "signal", "No entry: one vote of six, three are needed."),
    ("BUY", 3, "HOLD", 0.52, "agent", "The BUY signal is not followed: the agent says HOLD."),
    ("BUY", 4, "BUY", 0.31, "confidence", "The BUY signal is not followed: confidence 0.31 is below 0.60."),
    ("SELL", 3, "SELL", 0.66, "short", "The SELL signal is not followed: shorts are switched off."),
    ("HOLD", 2, "HOLD", 0.48, "signal", "No entry: two votes of six, three are needed."),
)


def portrait(made: Scene, folder: Path) -> None:
    """Let a bot have lived through a plausible day: nothing here is measured, the mode says made-up."""
    chance = random.Random(11)
    made.beat()
    made.beat(process="chart_analysis_bot")
    made.turns(300)
    last = made.candles[-1].close
    entry, mark = Decimal(str(round(last * 0.9962, 1))), Decimal(str(round(last * 1.0004, 1)))
    gain = (mark - entry) / 10
    trips = [_round_trip(made, chance, number) for number in range(12)]
    curve = [_account(made, ago_s, trips, gain) for ago_s in (*range(16_200, 0, -180), 4)]
    made.day(str(curve[0]), str(curve[-1]))
    made.change(daily_performance, high_equity=max(curve), low_equity=min(curve))
    made.position(
        entry_price=entry, mark_price=mark, unrealized_pnl=gain, stop_price=entry * Decimal("0.98"),
        target_price=entry * Decimal("1.05"), liquidation_price=entry * Decimal("0.604"),
    )  # fmt: skip
    made.change(trades, entry_price=entry, stop_price=entry * Decimal("0.98"), target_price=entry * Decimal("1.05"))
    _reasons(made)
    made.beat(details={"marks": {SYMBOL: made.details()["marks"][SYMBOL] | {"mark": str(mark)}}})
    made.order()
    made.context(btc_price=float(mark), unknown={}, btc_dominance=57.3, fear_greed_index=44)
    drawn = ChartGenerator(folder, clock=ManualClock(made.now_ms)).generate_chart(SYMBOL, "15m", made.candles)
    made.analysis(
        chart_file=drawn.path.name, summary="Higher lows above the rising EMA 50; momentum fades near resistance.",
        support_levels=[round(last * 0.994, 1), round(last * 0.989, 1)], resistance_levels=[round(last * 1.006, 1)],
    )  # fmt: skip
    made.training(metrics={"out_of_sample": {"net_return": -0.012, "buy_and_hold": 0.004, "trades": 31}})
    made.usage()
    made.clear(news_articles)
    made.database.save_news([
        NewsArticle(timestamp=made.at(60), url_hash=f"{number:064d}", url="https://example.org/a", source="wire",
                    title=title, published_at=made.at(600 + 1_700 * number), world=made.owner.world, summary="",
                    sentiment=mood, confidence=80.0, score=score, sentiment_reason="words", sentiment_mode="lexicon")
        for number, (title, mood, score) in enumerate(HEADLINES)
    ])  # fmt: skip


def _account(made: Scene, ago_s: int, trips: list[tuple[int, Decimal]], gain: Decimal) -> Decimal:
    """Let the account have been looked at: what was earned by then, and its part of the open position's gain."""
    wallet = 10_000 + sum(pnl for ended_s, pnl in trips if ended_s >= ago_s)
    part = Decimal(0)
    if ago_s <= HELD_S:
        wallet -= ENTRY_FEE
        part = (gain * (HELD_S - ago_s) / HELD_S).quantize(Decimal("0.01")) if ago_s > 60 else gain
    free = wallet - (Decimal("620.53") if ago_s <= HELD_S else 0)
    made.put(account_balance, "*", timestamp=made.at(ago_s), wallet_balance=wallet, available_balance=free,
             unrealized_pnl=part, equity=wallet + part)  # fmt: skip
    return wallet + part


def _round_trip(made: Scene, chance: random.Random, number: int) -> tuple[int, Decimal]:
    """Let a trade have been made; return how many seconds ago it ended, and what it brought net."""
    ago_s = 16_000 - 1_250 * number
    first = made.candles[-ago_s // 60]
    move = chance.choice((0.0031, 0.0024, -0.0019, 0.0042, -0.0026))
    gross = Decimal(str(round(first.close * move / 10, 2)))
    made.trade(
        number, pnl=str(gross - Decimal("4.97")), entry_ago_s=ago_s, reason="take_profit" if move > 0 else "early_stop",
        entry_price=Decimal(str(first.close)), exit_price=Decimal(str(round(first.close * (1 + move), 1))),
        gross_pnl=gross, fees=Decimal("4.97"), pnl_percent=(gross - Decimal("4.97")) / Decimal(str(first.close)) * 1000,
    )  # fmt: skip
    return ago_s - 300, gross - Decimal("4.97")


def _reasons(made: Scene) -> None:
    rows = made.dashboard_context.reports.rows(signals.select().order_by(signals.c.id.desc()).limit(60))
    for number, row in enumerate(rows):
        signal, strength, agent, confidence, veto, reason = REASONS[number % len(REASONS)]
        values = {"signal_type": signal, "strength": strength, "rl_action": agent, "confidence": confidence,
                  "veto": veto, "reason": reason, "acted": False, "decision": "HOLD"}  # fmt: skip
        if number % 23 == 17:
            values = {"veto": "", "reason": "Opening a long position.", "acted": True, "decision": "ENTER_LONG"}
        query = signals.update().where(signals.c.id == row["id"]).values(**values)
        made.database.write(lambda connection, query=query: connection.execute(query))


def picture(
    browser: Browser, made: Scene, name: str, width: int, height: int, path: str = "/", theme: str = "dark"
) -> None:
    """Take one picture of the top of a page."""
    silent_s = 200.0 if name.endswith("-down") else 1.0
    made.clock.ahead_s = (made.now_ms - SystemClock().now_ms()) / 1000 + silent_s  # drawing takes longer than data last
    seen = Watched(browser, width, height, theme=theme)
    page = seen.open(made, path)
    if page.locator("#card-chart").count():
        seen.chart()
    page.wait_for_timeout(800)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"{name}: {width} by {height}, said in the console: {seen.said}")
    seen.close()


def main() -> None:
    """Draw the pictures, or serve their scene."""
    with tempfile.TemporaryDirectory() as name, served(Path(name), chart_dir=Path(name) / "charts") as made:
        portrait(made, Path(name) / "charts")
        if sys.argv[1:] == ["serve"]:
            stop = threading.Event()
            print(made.address, flush=True)
            while not stop.wait(5):
                made.now_ms = made.clock.now_ms()
                made.beat()
                made.beat(process="chart_analysis_bot")
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
            picture(browser, made, "dashboard", 1440, 900)
            picture(browser, made, "dashboard-trade", 1440, 1100, "/trade", "light")
            picture(browser, made, "dashboard-performance", 1440, 1000, "/performance")
            picture(browser, made, "dashboard-phone", 390, 844)
            picture(browser, made, "dashboard-down", 1440, 900)
            made.others()
            tame = signals.update().where(signals.c.acted.is_(False)).values(reason=REASONS[1][-1])
            made.database.write(lambda connection: connection.execute(tame))
            picture(browser, made, "dashboard-bots", 1440, 560)
            browser.close()


if __name__ == "__main__":
    main()
