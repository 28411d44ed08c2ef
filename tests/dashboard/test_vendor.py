"""What others wrote and we keep is what they published."""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_kept_files_have_the_digest_that_is_written_down():
    rows = re.findall(r"\| `([^`]+\.js)` \|.*`([0-9a-f]{64})` \|", (ROOT / "THIRD_PARTY.md").read_text())
    assert len(rows) == 2
    for name, digest in rows:
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest, name


def test_the_licence_of_the_chart_is_kept_and_its_credit_stands_on_the_page():
    assert "Apache License" in (ROOT / "static/vendor/lightweight-charts.LICENSE").read_text()
    assert "TradingView" in (ROOT / "static/vendor/lightweight-charts.NOTICE").read_text()
    page = (ROOT / "templates/dashboard.html").read_text()
    assert "https://www.tradingview.com/" in page
    assert "attributionLogo: withLogo !== false" in (ROOT / "static/js/chart.js").read_text()


def test_text_is_only_ever_text():
    ours = [*ROOT.glob("static/js/*.js"), *ROOT.glob("templates/*.html")]
    for path in ours:
        text = path.read_text()
        found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\|\s*safe\b|Markup", text)
        assert not found, f"{path.name}: {found}"
        assert not re.search(r"\son\w+\s*=|style=\"", text) or path.suffix == ".js", path.name
