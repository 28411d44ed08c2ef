// The chart: candles and indicators as the bot wrote them down, its entries and exits, its levels, and the equity.
"use strict";
(function (Dash) {
  const at = (id) => document.getElementById(id);
  const plan = Dash.plan;
  const drawn = { data: null, etag: null, symbol: "", price: null, money: null, series: {}, lines: [], marks: null, busy: false, turn: "" };
  const NAMES = { ema_50: "EMA 50", ema_200: "EMA 200", vwap: "VWAP", bollinger_upper: "Bollinger", rsi: "RSI 14", macd: "MACD", macd_signal: "MACD signal" };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const shades = () => (getComputedStyle(document.documentElement).colorScheme.startsWith("light")
    ? { ema_50: "#0b57a4", ema_200: "#5b45b5", vwap: "#7a5200", bollinger_upper: "#5d6b79", bollinger_lower: "#5d6b79", rsi: "#0b57a4", macd: "#0b57a4", macd_signal: "#b3261e" }
    : { ema_50: "#79b8ff", ema_200: "#b8a6ff", vwap: "#f0b849", bollinger_upper: "#8b98a5", bollinger_lower: "#8b98a5", rsi: "#79b8ff", macd: "#79b8ff", macd_signal: "#ff8b82" });

  const short = { zone: null, format: null };
  const clockText = (seconds) => {
    const zone = Dash.choice("zone") === "utc" ? "UTC" : undefined;
    if (short.zone !== zone || !short.format) {
      short.zone = zone;
      short.format = new Intl.DateTimeFormat("en-CA", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone });
    }
    return short.format.format(new Date(seconds * 1000));
  };
  const fullText = (seconds) => Dash.timeText(seconds * 1000, true);

  function style(withLogo) {
    return {
      layout: { background: { color: colour("card") }, textColor: colour("soft"), attributionLogo: withLogo !== false, panes: { separatorColor: colour("line") }, fontSize: 12 },
      grid: { vertLines: { color: colour("inner") }, horzLines: { color: colour("inner") } },
      rightPriceScale: { borderColor: colour("line") },
      timeScale: { borderColor: colour("line"), timeVisible: true, secondsVisible: false, tickMarkFormatter: clockText },
      localization: { timeFormatter: fullText, locale: "en-US" },
      autoSize: true,
      handleScroll: { vertTouchDrag: false },
    };
  }

  const candleColours = () => ({ upColor: colour("up"), downColor: colour("down"), wickUpColor: colour("up"), wickDownColor: colour("down"), borderVisible: false });

  function build() {
    const L = window.LightweightCharts;
    const line = (pane, name, more) => drawn.price.addSeries(L.LineSeries, { color: shades()[name], lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, ...more }, pane);
    drawn.price = L.createChart(at("chart"), style());
    drawn.series.candles = drawn.price.addSeries(L.CandlestickSeries, candleColours(), 0);
    for (const name of ["ema_50", "ema_200", "vwap", "bollinger_upper", "bollinger_lower"]) drawn.series[name] = line(0, name);
    drawn.series.rsi = line(1, "rsi", { lastValueVisible: true });
    for (const level of [30, 70]) drawn.series.rsi.createPriceLine({ price: level, color: colour("line"), lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
    drawn.series.macd_histogram = drawn.price.addSeries(L.HistogramSeries, { priceLineVisible: false, lastValueVisible: false }, 2);
    for (const name of ["macd", "macd_signal"]) drawn.series[name] = line(2, name);
    drawn.price.panes()[0].setStretchFactor(4);
    drawn.marks = L.createSeriesMarkers(drawn.series.candles, []);
    drawn.money = L.createChart(at("equity"), style(false));
    drawn.series.equity = drawn.money.addSeries(L.LineSeries, { color: shades().ema_50, lineWidth: 2, priceLineVisible: false }, 0);
    drawn.series.hold = drawn.money.addSeries(L.LineSeries, { color: colour("soft"), lineWidth: 1, lineStyle: 2, priceLineVisible: false, lastValueVisible: false }, 0);
    drawn.series.fall = drawn.money.addSeries(L.AreaSeries, { lineColor: colour("down"), topColor: "transparent", bottomColor: "transparent", lineWidth: 1, priceLineVisible: false, priceFormat: { type: "custom", formatter: (value) => `${value.toFixed(2)} %`, minMove: 0.01 } }, 1);
  }

  const points = (times, values) => times.map((time, index) => (values[index] === null || values[index] === undefined ? { time } : { time, value: values[index] }));

  function paint() {
    const data = drawn.data;
    if (!data || !drawn.price) return;
    const times = data.candles.map((bar) => bar[0]);
    drawn.series.candles.applyOptions({ priceFormat: { type: "price", precision: data.precision ?? 2, minMove: 10 ** -(data.precision ?? 2) } });
    drawn.series.candles.setData(data.candles.map(([time, open, high, low, close]) => ({ time, open, high, low, close })));
    for (const name of Object.keys(shades())) drawn.series[name].setData(points(times, (data.indicators || {})[name] || []));
    const bars = (data.indicators || {}).macd_histogram || [];
    drawn.series.macd_histogram.setData(times.map((time, index) => (bars[index] === null || bars[index] === undefined ? { time } : { time, value: bars[index], color: bars[index] >= 0 ? colour("up") : colour("down") })));
    paintLevels(data);
    paintMarks(data, times);
    paintEquity(data.equity);
    at("chart").setAttribute("aria-label", data.sentence || data.reason);
    if (data.table && at("chart-told").open) Dash.fill(at("chart-table"), [Dash.table(data.table)]);
    Dash.fill(at("legend"), Object.entries(NAMES).map(([name, title]) => plan("li", {}, plan("svg", { viewBox: "0 0 16 10", "aria-hidden": "true" }, plan("line", { x1: 0, y1: 5, x2: 16, y2: 5, stroke: shades()[name], "stroke-width": 2 })), title)));
  }

  function paintLevels(data) {
    for (const line of drawn.lines) drawn.series.candles.removePriceLine(line);
    const kinds = { entry: ["soft", 0], stop: ["down", 0], target: ["up", 0], liquidation: ["bad", 1], support: ["soft", 2], resistance: ["soft", 2] };
    drawn.lines = (data.levels || []).map((level) => drawn.series.candles.createPriceLine({ price: level.price, color: colour(kinds[level.kind][0]), lineStyle: kinds[level.kind][1], lineWidth: 1, axisLabelVisible: true, title: level.kind }));
  }

  function paintMarks(data, times) {
    const snap = (time) => { let found = times[0]; for (const each of times) { if (each > time) break; found = each; } return found; };
    const newest = (data.marks || []).length - 4;
    drawn.marks.setMarkers((data.marks || []).map((mark, index) => {
      const long = mark.side === "LONG", entry = mark.kind === "entry", below = long === entry;
      const hide = Dash.choice("hide") === "yes";
      const text = index < newest || (hide && !entry) ? "" : mark.text;
      return { time: snap(mark.time), position: below ? "belowBar" : "aboveBar", shape: entry ? (long ? "arrowUp" : "arrowDown") : "circle", color: entry ? colour("link") : colour(mark.won ? "up" : "down"), text };
    }));
  }

  function paintEquity(equity) {
    const rows = (equity && equity.points) || [];
    const hide = Dash.choice("hide") === "yes";
    drawn.money.applyOptions({ rightPriceScale: { visible: !hide } });
    drawn.series.equity.setData(rows.map(([time, value]) => ({ time, value })));
    drawn.series.fall.setData(rows.map(([time, , value]) => ({ time, value: value * 100 })));
    drawn.series.hold.setData(rows.map(([time, , , value]) => (value === null ? { time } : { time, value })));
    drawn.money.timeScale().fitContent();
    const last = rows[rows.length - 1];
    const words = last ? `Equity ${hide ? "hidden" : last[1].toFixed(2)}, ${(last[2] * 100).toFixed(2)} % below its highest; ${equity.against} would be ${hide ? "hidden" : last[3] === null ? "unknown" : last[3].toFixed(2)}.` : "No equity is recorded yet.";
    at("equity").setAttribute("aria-label", words);
  }

  Dash.restyleChart = function () {
    if (!drawn.price) return;
    drawn.price.applyOptions(style());
    drawn.money.applyOptions(style(false));
    drawn.series.candles.applyOptions(candleColours());
    for (const [name, shade] of Object.entries(shades())) drawn.series[name].applyOptions({ color: shade });
    drawn.series.equity.applyOptions({ color: shades().ema_50 });
    drawn.series.fall.applyOptions({ lineColor: colour("down") });
    paint();
  };

  Dash.drawChartStamp = function () {
    const section = at("card-chart"), data = drawn.data;
    if (!section || !data) return;
    const is = Dash.cardState(data);
    const age = data.as_of_ms === null ? "" : Dash.ageWords((Dash.now() - data.as_of_ms) / 1000);
    Dash.stamp(section, is, data.as_of_ms, age);
    const reason = section.querySelector(".reason");
    reason.hidden = is !== "unknown" && is !== "error";
    reason.textContent = data.reason || "—";
    const pairs = Dash.state.snapshot.pairs;
    Dash.fill(at("chart-choice"), pairs.length < 2 ? [] : pairs.map((pair) => plan("button", { type: "button", "data-pair": pair, "data-key": pair, "aria-pressed": String(pair === data.symbol) }, pair)));
  };

  async function read() {
    if (drawn.busy) return;
    drawn.busy = true;
    const query = new URLSearchParams({ bot: Dash.state.snapshot.bot_id });
    if (drawn.symbol) query.set("symbol", drawn.symbol);
    try {
      const answer = await fetch(`/api/chart?${query}`, { cache: "no-store", headers: drawn.etag ? { "If-None-Match": drawn.etag } : {} });
      if (answer.status === 200) {
        drawn.data = await answer.json();
        drawn.etag = answer.headers.get("ETag");
        paint();
      } else if (answer.status !== 304) failed(`The chart cannot be read now (answer ${answer.status}).`);
    } catch (error) {
      failed("The chart cannot be read now: no answer.");
    } finally {
      drawn.busy = false;
      Dash.drawChartStamp();
    }
  }

  function failed(reason) {
    drawn.data = { ...(drawn.data || { as_of_ms: null, candles: [], source: "bot", max_age_s: 60 }), base: "error", reason };
    drawn.etag = null;
    drawn.turn = "";
  }

  // A new turn brings a new candle; nothing else changes the picture.
  Dash.refreshChart = function () {
    if (!drawn.price) return;
    const turn = JSON.stringify([Dash.state.snapshot.cards.market.as_of_ms, Dash.state.snapshot.cards.positions.as_of_ms, Dash.state.snapshot.cards.analysis.as_of_ms]);
    if (turn !== drawn.turn || (drawn.data && drawn.data.base !== "data")) { drawn.turn = turn; read(); }
  };

  Dash.startChart = function () {
    at("chart-told").addEventListener("toggle", () => { if (drawn.data) Dash.fill(at("chart-table"), [Dash.table(drawn.data.table)]); });
    at("chart-choice").addEventListener("click", (event) => {
      const pressed = event.target.closest("button[data-pair]");
      if (pressed) { drawn.symbol = pressed.dataset.pair; drawn.etag = null; read(); }
    });
    const load = () => {
      const script = document.createElement("script");
      script.src = document.body.dataset.chartLibrary;
      script.addEventListener("load", () => { build(); Dash.refreshChart(); });
      script.addEventListener("error", () => { failed("The chart's library could not be loaded."); Dash.drawChartStamp(); });
      document.head.append(script);
    };
    const near = new IntersectionObserver((seen) => {
      if (!seen.some((each) => each.isIntersecting)) return;
      near.disconnect();
      if ("requestIdleCallback" in window) requestIdleCallback(load, { timeout: 1500 }); else setTimeout(load, 200);
    }, { rootMargin: "500px" });
    near.observe(at("chart"));
  };
})(window.Dash);
