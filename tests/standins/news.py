"""Stand-ins for RSS feeds and newsapi.org."""

from email.utils import formatdate
from typing import Any
from xml.sax.saxutils import escape

from src.domain.clock import utc_text
from tests.standins.context import NOW_MS
from tests.standins.server import Reply, Request, StandIn

Item = tuple[str, str, int]  # title, link, minutes before NOW_MS


class RssStandIn(StandIn):
    """A feed with validators; titles lie in CDATA and keep entities, as the real ones do."""

    def __init__(self, items: list[Item]) -> None:
        super().__init__()
        self.items = items
        self.version = 1

    def reply_to(self, request: Request) -> Reply:
        """Answer 304 where the validator still holds."""
        tag = f'"v{self.version}"'
        if self.scenario == "gone":
            return Reply(b"", 410)
        if self.scenario == "empty feed":
            return Reply(self._feed([]), headers={"Content-Type": "application/rss+xml"})
        if self.scenario == "liar":
            return Reply(b"", 304)
        if request.headers.get("if-none-match") == tag:
            return Reply(b"", 304)
        headers = {
            "Content-Type": "application/rss+xml",
            "ETag": tag,
            "Last-Modified": formatdate(NOW_MS / 1000, usegmt=True),
        }
        return Reply(self._feed(self.items), headers=headers)

    def _feed(self, items: list[Item]) -> bytes:
        rows = "".join(self._item(*item) for item in items)
        return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Feed</title>{rows}</channel></rss>'.encode()

    def _item(self, title: str, link: str, minutes: int) -> str:
        date = formatdate((NOW_MS - minutes * 60_000) / 1000, usegmt=True)
        picture = '<img src="https://example.org/a.png"/>'
        return (
            f"<item><title><![CDATA[{title}]]></title><link>{escape(link)}</link><guid>{escape(link)}</guid>"
            f"<pubDate>{date}</pubDate><description><![CDATA[{picture}<p>About {title}</p>]]></description></item>"
        )


class NewsApiStandIn(StandIn):
    """Wants the key in its header; 426 is about the account."""

    def __init__(self, items: list[Item]) -> None:
        super().__init__()
        self.items = items

    def reply_to(self, request: Request) -> Reply:
        """Answer ``/v2/everything`` and ``/v2/top-headlines``."""
        if "x-api-key" not in request.headers or "apiKey" in request.query:
            return _error(401, "apiKeyMissing", "Your API key is missing.")
        refusals = {
            "wrong key": (401, "apiKeyInvalid", "Your API key is invalid or incorrect."),
            "used up": (
                429,
                "rateLimited",
                "You have made too many requests recently. Developer accounts are limited.",
            ),
            "too many": (426, "maximumResultsReached", "You have requested too many results."),
        }
        if self.scenario in refusals:
            return _error(*refusals[self.scenario])
        if int(request.query.get("page", "1")) > 1:
            return _error(*refusals["too many"])
        if request.path == "/v2/everything" and "q" not in request.query:
            return _error(400, "parametersMissing", "Required parameters are missing.")
        if request.path not in {"/v2/everything", "/v2/top-headlines"}:
            return Reply(b"<html>404</html>", 404)
        rows = [self._row(*item) for item in self.items]
        rows.append({"source": {"id": None, "name": "[Removed]"}, "title": "[Removed]", "url": "https://removed.com"})
        return Reply({"status": "ok", "totalResults": 1374, "articles": rows})

    def _row(self, title: str, link: str, minutes: int) -> dict[str, Any]:
        return {
            "source": {"id": None, "name": "Example News"},
            "author": None,
            "title": f"{title} - Example News",
            "description": None,
            "url": link,
            "urlToImage": None,
            "publishedAt": utc_text(NOW_MS - minutes * 60_000).replace(".000Z", "Z"),
            "content": None,
        }


def _error(status: int, code: str, message: str) -> Reply:
    return Reply({"status": "error", "code": code, "message": message}, status)
