"""A book put together from GET depth and the differences after it is the exchange's own, whenever it was begun."""

from types import SimpleNamespace

import pytest

from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.depth_history import DepthHistory
from src.paper_exchange.feeds import DIFF_LEVELS, DepthFeed
from src.paper_exchange.markets.synthetic import SyntheticMarket
from src.paper_exchange.rest_call import Call
from src.paper_exchange.rest_market import depth
from src.paper_exchange.venue import Venue

START = 1_795_360_620_000
SYMBOL = "BTCUSDT"


@pytest.fixture
def exchange():
    venue = Venue(SyntheticMarket(7), START, contracts=CONTRACTS, balance=None)
    return SimpleNamespace(venue=venue, contracts=CONTRACTS, shown=DepthHistory())


def ask(exchange, limit):
    return depth(exchange, Call({"symbol": SYMBOL, "limit": str(limit)}, "", exchange.venue.now_ms))


class Client:
    """Keeps a book as Binance tells its users to: an answer of GET depth, then every difference that is not older."""

    def __init__(self, exchange, limit):
        answer = ask(exchange, limit)
        self.known = answer["lastUpdateId"]
        self.bids, self.asks = ({row[0]: row[1] for row in answer[side]} for side in ("bids", "asks"))

    def take(self, update):
        if update["u"] < self.known:
            return
        for book, rows in ((self.bids, update["b"]), (self.asks, update["a"])):
            book.update(dict(rows))
            for price in [price for price, size in book.items() if float(size) == 0.0]:
                del book[price]

    def best(self):
        return max(map(float, self.bids)), min(map(float, self.asks))


@pytest.mark.parametrize("limit", [20, 100, 1000])
def test_clients_that_begin_between_two_frames_have_the_exchanges_book_ever_after(exchange, limit):
    feed = DepthFeed(exchange, CONTRACTS[SYMBOL], 0, 250)
    clients, seen = [], 0
    for step in range(1, 1_500):
        now_ms = START + step * 40
        exchange.venue.advance(now_ms)
        if step % 217 == 5:  # never at the instant of a frame
            clients.append(Client(exchange, limit))
        for update in feed.frames(now_ms):
            seen += 1
            book = exchange.venue.book(SYMBOL, DIFF_LEVELS)
            for client in clients:
                client.take(update)
                assert client.best() == (float(book.bids[0][0]), float(book.asks[0][0])), step
    assert len(clients) == 7 and seen > 50
    whole = {float(price): float(size) for price, size in book.bids}
    for client in clients:
        held = {float(price): float(size) for price, size in client.bids.items()}
        assert held.items() <= whole.items() and (limit < DIFF_LEVELS or held == whole)


def test_only_the_last_answers_about_the_same_contract_are_remembered():
    shown = DepthHistory()
    for number in range(40):
        shown.note("BTCUSDT" if number % 2 else "ETHUSDT", [[str(number), "1"]], [])
    assert [bids[0][0] for bids, _ in shown.since(0, "BTCUSDT")] == [str(number) for number in range(25, 40, 2)]
    assert [bids[0][0] for bids, _ in shown.since(38, "BTCUSDT")] == ["39"]
    assert list(shown.since(shown.count, "BTCUSDT")) == []
