"""Reads chart opinions and headlines, for decisions that use them as evidence."""

from collections.abc import Sequence

from sqlalchemy import func, select

from src.domain.clock import instant_of, utc_text
from src.domain.evidence import ChartOpinion, ReportedHeadline
from src.storage.database import TradingDatabase
from src.storage.tables import chart_analyses, news_articles


class EvidenceRepository:
    """Analyses of the database's owner, and headlines of its world. Reads only; may raise ``StoreUnavailable``."""

    def __init__(self, database: TradingDatabase) -> None:
        self._database = database
        self._owner = database.owner

    def chart_opinions(self, pairs: Sequence[str], until_ms: int) -> tuple[ChartOpinion, ...]:
        """Return the newest good analysis of each pair's chart that was made by ``until_ms``."""
        c = chart_analyses.c
        good = (self._owner.rows_of(chart_analyses), c.status == "ok", c.symbol.in_(pairs))
        newest = select(func.max(c.id)).where(*good, c.timestamp <= utc_text(until_ms)).group_by(c.symbol)
        with self._database.read() as connection:
            rows = connection.execute(select(chart_analyses).where(c.id.in_(newest)).order_by(c.symbol)).mappings()
            return tuple(
                ChartOpinion(
                    made_ms=instant_of(row["timestamp"]),
                    interval=row["interval"],
                    analyst=row["model"] or row["analyst"],
                    recommendation=row["recommendation"] or "HOLD",
                    confidence=row["confidence"] or "",
                    cost_usd=row["cost_usd"],
                    symbol=row["symbol"],
                )
                for row in rows
            )

    def headlines(self, since_ms: int, until_ms: int) -> list[ReportedHeadline]:
        """Return the headlines that were read in that time, oldest first."""
        c = news_articles.c
        query = (
            select(c.title, c.source, c.timestamp, c.published_at)
            .where(c.world == self._owner.world, c.timestamp > utc_text(since_ms), c.timestamp <= utc_text(until_ms))
            .order_by(c.timestamp, c.id)
        )
        with self._database.read() as connection:
            return [
                ReportedHeadline(title, source, instant_of(read_at), instant_of(published) if published else None)
                for title, source, read_at, published in connection.execute(query)
            ]

    def headlines_of(self, coin: str, since_ms: int, until_ms: int) -> list[tuple[str, str, int, str]]:
        """Return title, source, instant and sentiment of the headlines of a coin read in that time, oldest first."""
        c = news_articles.c
        query = (
            select(c.title, c.source, c.timestamp, c.sentiment, c.symbols)
            .where(c.world == self._owner.world, c.timestamp > utc_text(since_ms), c.timestamp <= utc_text(until_ms))
            .order_by(c.timestamp, c.id)
        )
        with self._database.read() as connection:
            return [
                (title, source, instant_of(read_at), sentiment or "")
                for title, source, read_at, sentiment, symbols in connection.execute(query)
                if coin in symbols
            ]
