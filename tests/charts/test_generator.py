"""Charts as files: true, readable, the right size, timestamped, pruned, and without a trace left in memory."""

import os
from io import BytesIO

import pytest

from src.charts.analysis_schema import view_of
from src.charts.annotations import ChartAnnotations, TradeMark
from src.charts.generator import ChartGenerator, ChartUnavailable
from src.domain.clock import ManualClock
from src.domain.market import Candle
from tests.chart_samples import START_MS, wave, wave_view

NOW_MS = 1_795_305_600_000


@pytest.fixture(scope="module")
def drawing():
    """The room with the large libraries, loaded once."""
    import src.charts.renderer as room

    return room


@pytest.fixture
def generator(tmp_path):
    return ChartGenerator(tmp_path / "charts", keep=3, clock=ManualClock(NOW_MS))


def pixels(png):
    from PIL import Image

    return Image.open(BytesIO(png)).convert("RGB")


@pytest.mark.long
def test_a_chart_is_a_file_with_symbol_interval_and_instant_in_its_name(generator, drawing):
    picture = generator.generate_chart("BTCUSDT", "15m", wave())
    assert picture.path.name == "BTCUSDT_15m_20261122T000000000Z.png"
    assert picture.path.read_bytes() == picture.png
    assert pixels(picture.png).size == (1200, 900)
    assert len(picture.png) < 100_000


@pytest.mark.long
def test_the_same_view_is_the_same_picture(drawing):
    assert drawing.draw_chart(wave_view()) == drawing.draw_chart(wave_view())


@pytest.mark.long
def test_each_panel_and_overlay_changes_the_picture(drawing):
    pictures = {drawing.draw_chart(wave_view())}
    for panels in (("volume",), ("rsi",), ("macd",), ()):
        pictures.add(drawing.draw_chart(wave_view(), layout=drawing.ChartLayout(panels=panels)))
    pictures.add(drawing.draw_chart(wave_view(), layout=drawing.ChartLayout(overlays=())))
    assert len(pictures) == 6


@pytest.mark.long
def test_macd_and_its_signal_stand_on_one_axis(drawing, monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "_label", lambda axes, *_: seen.extend(axes))
    drawing.draw_chart(wave_view())
    view = wave_view()
    with_lines = [axis for axis in seen if len(axis.lines) >= 2]
    panels = [[list(line.get_ydata()) for line in axis.lines] for axis in with_lines]
    macd = [values.macd for values in view.indicators]
    signal = [values.macd_signal for values in view.indicators]
    assert any(macd in lines and signal in lines for lines in panels)


@pytest.mark.long
def test_the_lines_drawn_are_the_bots_own_figures(drawing, monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "_label", lambda axes, *_: seen.extend(axes))
    view = wave_view()
    drawing.draw_chart(view)
    drawn = [list(line.get_ydata()) for axis in seen for line in axis.lines]
    for name in ("ema_9", "ema_21", "ema_50", "ema_200", "sma_20", "bollinger_upper", "bollinger_lower", "rsi"):
        assert [getattr(values, name) for values in view.indicators] in drawn, name


@pytest.mark.long
def test_entry_stop_target_and_trades_are_drawn(drawing):
    view = wave_view()
    bare = pixels(drawing.draw_chart(view))
    price = view.price
    trades = (TradeMark(view.candles[-30].open_ms, price, True), TradeMark(view.candles[-5].open_ms, price, False))
    marked = pixels(drawing.draw_chart(view, ChartAnnotations(price, price * 0.998, price * 1.002, trades)))
    assert bare.tobytes() != marked.tobytes()
    far = ChartAnnotations(trades=(TradeMark(START_MS - 10**9, price, True),))
    assert pixels(drawing.draw_chart(view, far)).tobytes() == bare.tobytes(), "trades before the chart are not on it"


@pytest.mark.long
def test_a_stop_far_away_does_not_squeeze_the_candles(drawing):
    view = wave_view()
    low, high = drawing._price_limits(view, ChartAnnotations(stop=view.price * 0.5))
    assert low > view.lowest - (view.highest - view.lowest) and high < view.highest * 1.02


@pytest.mark.long
def test_a_flat_market_and_a_short_one_can_be_drawn(drawing):
    flat = [Candle(START_MS + at * 900_000, 5.0, 5.0, 5.0, 5.0, 0.0) for at in range(60)]
    assert drawing.draw_chart(view_of("BTCUSDT", "15m", flat)).startswith(b"\x89PNG")
    assert drawing.draw_chart(view_of("BTCUSDT", "15m", wave(30))).startswith(b"\x89PNG")


@pytest.mark.long
def test_no_figure_stays_open_also_when_drawing_fails(drawing, monkeypatch):
    drawing.draw_chart(wave_view())
    assert drawing.plt.get_fignums() == []

    def fail(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(drawing, "_label", fail)
    with pytest.raises(RuntimeError):
        drawing.draw_chart(wave_view())
    assert drawing.plt.get_fignums() == []


@pytest.mark.long
def test_a_picture_can_be_had_at_the_models_size(drawing):
    png = drawing.draw_chart(wave_view())
    assert pixels(drawing.resized(png, 768, 576)).size == (768, 576)
    assert drawing.resized(png, 1200, 900) is png


@pytest.mark.long
def test_a_layout_that_makes_no_sense_is_refused(drawing):
    with pytest.raises(ValueError, match="unknown indicators: ichimoku"):
        drawing.ChartLayout(overlays=("ichimoku",))
    with pytest.raises(ValueError, match="pixels"):
        drawing.ChartLayout(width=10)


@pytest.mark.long
def test_memory_stays_flat_over_pictures(drawing):
    def used_mb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    view = wave_view()
    for _ in range(5):
        drawing.draw_chart(view)
    before = used_mb()
    for _ in range(12):
        drawing.draw_chart(view)
    assert used_mb() - before < 30, "an unclosed figure costs 7 MB each"


def test_too_few_candles_make_no_chart(generator):
    with pytest.raises(ChartUnavailable, match="has 29 candles"):
        generator.generate_chart("BTCUSDT", "15m", wave(29))


def test_names_that_are_no_symbol_or_interval_write_nothing(generator, tmp_path):
    for symbol, interval in (("../../ETC", "15m"), ("BTCUSDT", "../15m"), ("btc usdt", "15m")):
        with pytest.raises(ChartUnavailable):
            generator.generate_chart(symbol, interval, wave())
    assert not (tmp_path / "charts").exists()


def test_a_candle_without_a_price_is_not_drawn(generator):
    broken = [*wave(), Candle(START_MS + 10**9, float("nan"), float("nan"), float("nan"), float("nan"), 0.0)]
    with pytest.raises(ChartUnavailable, match="candle without a price"):
        generator.generate_chart("BTCUSDT", "15m", broken)


def test_old_pictures_of_a_chart_go_and_all_else_stays(generator, tmp_path):
    folder = tmp_path / "charts"
    folder.mkdir()
    old = [folder / f"BTCUSDT_15m_2026110{day}T000000000Z.png" for day in range(1, 8)]
    others = [folder / "ETHUSDT_15m_20261101T000000000Z.png", folder / "BTCUSDT_1h_20261101T000000000Z.png"]
    others += [folder / "notes.txt", folder / "BTCUSDT.png"]
    left = folder / "BTCUSDT_15m_20261101T000000000Z.77.part"
    for path in (*old, *others, left):
        path.write_bytes(b"x")
    os.utime(left, (1, 1))
    assert generator.prune("BTCUSDT", "15m") == 5
    assert sorted(folder.iterdir()) == sorted([*old[-3:], *others])


@pytest.mark.long
def test_a_folder_that_cannot_be_written_is_told(tmp_path, drawing):
    (tmp_path / "file").write_text("")
    generator = ChartGenerator(tmp_path / "file" / "charts")
    with pytest.raises(ChartUnavailable, match="cannot be written"):
        generator.generate_chart("BTCUSDT", "15m", wave())


def test_the_room_itself_loads_no_large_library():
    import subprocess
    import sys

    loads = "import sys, src.charts.generator, src.charts.analysis_job; "
    code = loads + "print({'pandas', 'matplotlib', 'openai'} & {*sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
