// The chart: candles and indicators as the bot wrote them down, its entries and exits, its levels, and the equity.
"use strict";
(function (Dash) {
  const at = (id) => document.getElementById(id);
  const plan = Dash.plan;
  const drawn = { data: null, etag: null, symbol: "", price: null, money: null, series: {}, lines: [], marks: null, busy: false, turn: "", near: false, levels: false, at: null };
  const NAMES = { ema_50: "EMA 50", ema_200: "EMA 200", vwap: "VWAP", bollinger_upper: "Bollinger upper", bollinger_lower: "lower", rsi: "RSI 14", macd: "MACD", macd_signal: "signal", macd_histogram: "histogram" };
  const IN_PRICE = ["ema_50", "ema_200", "vwap", "bollinger_upper", "bollinger_lower"];

  // A figure with so many decimals, thousands apart, a true minus.
  const figure = (value, places) => {
    if (value === null || value === undefined) return "—";
    const [whole, rest] = Math.abs(value).toFixed(places).split(".");
    const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? `.${rest}` : "");
    return value < 0 && Number(text.replace(/,/g, "")) !== 0 ? `−${text}` : text;
  };

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

  function buildPrice() {
    const L = window.LightweightCharts;
    const line = (pane, name, more) => drawn.price.addSeries(L.LineSeries, { color: shades()[name], lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, ...more }, pane);
    drawn.price = L.createChart(at("chart"), style());
    drawn.series.candles = drawn.price.addSeries(L.CandlestickSeries, { ...candleColours(), autoscaleInfoProvider: scaled }, 0);
    for (const name of IN_PRICE) drawn.series[name] = line(0, name);
    drawn.series.volume = drawn.price.addSeries(L.HistogramSeries, { color: colour("line"), priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false }, 0);
    drawn.price.priceScale("volume", 0).applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
    drawn.series.rsi = line(1, "rsi", { lastValueVisible: true });
    for (const level of [30, 70]) drawn.series.rsi.createPriceLine({ price: level, color: colour("line"), lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
    drawn.series.macd_histogram = drawn.price.addSeries(L.HistogramSeries, { priceLineVisible: false, lastValueVisible: false }, 2);
    for (const name of ["macd", "macd_signal"]) drawn.series[name] = line(2, name);
    drawn.price.panes()[0].setStretchFactor(4);
    drawn.marks = L.createSeriesMarkers(drawn.series.candles, []);
    drawn.price.subscribeCrosshairMove((move) => { if (!drawn.data) return; drawn.at = move.point && move.logical !== undefined ? Math.round(move.logical) : null; paintLegend(); });
  }

  function buildMoney() {
    const L = window.LightweightCharts;
    drawn.money = L.createChart(at("equity"), style(false));
    drawn.series.equity = drawn.money.addSeries(L.LineSeries, { color: shades().ema_50, lineWidth: 2, priceLineVisible: false }, 0);
    drawn.series.hold = drawn.money.addSeries(L.LineSeries, { color: colour("soft"), lineWidth: 1, lineStyle: 2, priceLineVisible: false, lastValueVisible: false }, 0);
    drawn.series.fall = drawn.money.addSeries(L.AreaSeries, { lineColor: colour("down"), topColor: "transparent", bottomColor: "transparent", lineWidth: 1, priceLineVisible: false, priceFormat: { type: "custom", formatter: (value) => `${value.toFixed(2)} %`, minMove: 0.01 } }, 1);
  }

  // The price scale takes in entry, stop and target where a person wants to see them.
  function scaled(own) {
    const range = own();
    if (!drawn.levels || !range || !range.priceRange) return range;
    const prices = (drawn.data.levels || []).filter((level) => ["entry", "stop", "target"].includes(level.kind)).map((level) => level.price);
    const { minValue, maxValue } = range.priceRange;
    return { ...range, priceRange: { minValue: Math.min(minValue, ...prices), maxValue: Math.max(maxValue, ...prices) } };
  }

  const points = (times, values) => times.map((time, index) => (values[index] === null || values[index] === undefined ? { time } : { time, value: values[index] }));

  function paint() {
    const data = drawn.data;
    if (!data || !drawn.money) return;
    const times = data.candles.map((bar) => bar[0]);
    drawn.series.candles.applyOptions({ priceFormat: { type: "price", precision: data.precision ?? 2, minMove: 10 ** -(data.precision ?? 2) } });
    drawn.series.candles.setData(data.candles.map(([time, open, high, low, close]) => ({ time, open, high, low, close })));
    for (const name of Object.keys(shades())) drawn.series[name].setData(points(times, (data.indicators || {})[name] || []));
    drawn.series.volume.setData(points(times, data.volumes || []));
    const bars = (data.indicators || {}).macd_histogram || [];
    drawn.series.macd_histogram.setData(times.map((time, index) => (bars[index] === null || bars[index] === undefined ? { time } : { time, value: bars[index], color: bars[index] >= 0 ? colour("up") : colour("down") })));
    paintLevels(data);
    paintMarks(data, times);
    paintEquity(data.equity);
    at("chart").setAttribute("aria-label", data.sentence || data.reason);
    at("chart").hidden = at("chart-told").hidden = !times.length;
    Dash.fill(at("chart-says"), [data.sentence || ""]);
    at("chart-levels").hidden = !(data.levels || []).some((level) => level.kind === "entry");
    if (at("chart-told").open && data.table) Dash.fill(at("chart-table"), [Dash.table(data.table)]);
    paintLegend();
  }

  // The candle under the pointer in figures, the last one otherwise.
  function paintLegend() {
    const data = drawn.data, bars = (data && data.candles) || [];
    const index = drawn.at !== null && bars[drawn.at] ? drawn.at : bars.length - 1;
    if (index < 0) { Dash.fill(at("legend"), []); return; }
    const places = data.precision ?? 2;
    const key = (name) => (shades()[name] ? plan("svg", { viewBox: "0 0 16 10", "aria-hidden": "true" }, plan("line", { x1: 0, y1: 5, x2: 16, y2: 5, stroke: shades()[name], "stroke-width": 2 })) : null);
    const bar = ["open", "high", "low", "close"].map((name, place) => plan("li", { "data-line": name }, `${name} `, plan("b", {}, figure(bars[index][place + 1], places)))).concat([plan("li", { "data-line": "volume" }, "volume ", plan("b", {}, figure(data.volumes[index], 3)))]);
    Dash.fill(at("legend"), bar.concat(Object.entries(NAMES).map(([name, title]) => plan("li", { "data-line": name }, key(name), `${title} `,
      plan("b", {}, figure((data.indicators || {})[name] && data.indicators[name][index], IN_PRICE.includes(name) ? places : 2))))));
  }

  function paintLevels(data) {
    for (const line of drawn.lines) drawn.series.candles.removePriceLine(line);
    const kinds = { entry: ["soft", 0], stop: ["down", 0], target: ["up", 0], liquidation: ["bad", 1], support: ["soft", 2], resistance: ["soft", 2] };
    drawn.lines = (data.levels || []).map((level) => drawn.series.candles.createPriceLine({ price: level.price, color: colour(kinds[level.kind][0]), lineStyle: kinds[level.kind][1], lineWidth: 1, axisLabelVisible: true, title: level.kind }));
  }

  function paintMarks(data, times) {
    const snap = (time) => { let found = times[0]; for (const each of times) { if (each > time) break; found = each; } return found; };
    const newest = (data.marks || []).length - 1;
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
    const told = (value) => (hide ? "•••" : `${figure(value, 2)} USDT`);
    const held = last && (last[3] === null ? "what holding would have brought is not known without candles" : `${equity.against} would have made it ${told(last[3])} (dashed)`);
    const words = last ? `Equity ${told(last[1])}, ${figure(-last[2] * 100, 2)} % below its highest; ${held}.` : "No equity is recorded yet.";
    at("equity").setAttribute("aria-label", words);
    at("equity").hidden = !last;
    Dash.fill(at("equity-says"), [words]);
  }

  Dash.restyleChart = function () {
    if (!drawn.money) return;
    drawn.price.applyOptions(style());
    drawn.money.applyOptions(style(false));
    drawn.series.candles.applyOptions(candleColours());
    for (const [name, shade] of Object.entries(shades())) drawn.series[name].applyOptions({ color: shade });
    drawn.series.equity.applyOptions({ color: shades().ema_50 });
    drawn.series.fall.applyOptions({ lineColor: colour("down") });
    drawn.series.volume.applyOptions({ color: colour("line") });
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
      const answer = await fetch(`api/chart?${query}`, { cache: "no-store", headers: drawn.etag ? { "If-None-Match": drawn.etag } : {} });
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
    if (!drawn.near) return;
    const turn = JSON.stringify([Dash.state.snapshot.cards.market.as_of_ms, Dash.state.snapshot.cards.positions.as_of_ms, Dash.state.snapshot.cards.analysis.as_of_ms]);
    if (turn !== drawn.turn || (drawn.data && drawn.data.base !== "data")) { drawn.turn = turn; read(); }
  };

  // One after the other, so that the page answers in between.
  function inTurn(steps) {
    const step = steps.shift();
    if (!step) return;
    step();
    setTimeout(inTurn, 0, steps);
  }

  Dash.startChart = function () {
    at("chart-told").addEventListener("toggle", () => { if (drawn.data && drawn.data.table) Dash.fill(at("chart-table"), [Dash.table(drawn.data.table)]); });
    at("chart-levels").addEventListener("click", (event) => {
      drawn.levels = !drawn.levels;
      event.target.setAttribute("aria-pressed", String(drawn.levels));
      if (drawn.price) drawn.series.candles.applyOptions({ autoscaleInfoProvider: scaled });
    });
    at("chart-choice").addEventListener("click", (event) => {
      const pressed = event.target.closest("button[data-pair]");
      if (pressed) { drawn.symbol = pressed.dataset.pair; drawn.etag = null; read(); }
    });
    const load = () => {
      drawn.near = true;
      Dash.refreshChart();
      const script = document.createElement("script");
      script.src = document.body.dataset.chartLibrary;
      script.addEventListener("load", () => inTurn([buildPrice, buildMoney, paint]));
      script.addEventListener("error", () => { failed("The chart's library could not be loaded."); Dash.drawChartStamp(); });
      document.head.append(script);
    };
    const near = new IntersectionObserver((seen) => {
      if (!seen.some((each) => each.isIntersecting)) return;
      near.disconnect();
      if ("requestIdleCallback" in window) requestIdleCallback(load, { timeout: 1500 }); else setTimeout(load, 200);
    });
    near.observe(at("card-chart"));
  };
})(window.Dash);
