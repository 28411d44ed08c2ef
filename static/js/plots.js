// Drawings of the server's figures: lines over a linear time axis, bars, and a calendar of days.
"use strict";
(function (Dash) {
  const plan = Dash.plan;
  const WIDTH = 600, HEIGHT = 150, LEFT = 4, RIGHT = 84, TOP = 8, BOTTOM = 20;
  const DAY = 86400000;

  const hidden = (unit) => Dash.choice("hide") === "yes" && unit === "USDT";
  const figure = (value, unit) => (hidden(unit) ? "•••" : `${value < 0 ? "−" : ""}${Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}${unit === "%" ? " %" : ""}`);

  // Where an instant and a value stand in the drawing: both axes are linear.
  function scales(series) {
    const points = series.flatMap((each) => each.points).filter(([, value]) => value !== null);
    const times = points.map(([time]) => time), values = points.map(([, value]) => value);
    const [first, last] = [Math.min(...times), Math.max(...times)];
    let [least, most] = [Math.min(...values), Math.max(...values)];
    if (least === most) { least -= Math.abs(least) * 0.01 || 1; most += Math.abs(most) * 0.01 || 1; }
    const x = (time) => LEFT + ((time - first) / (last - first || 1)) * (WIDTH - LEFT - RIGHT);
    const y = (value) => TOP + (1 - (value - least) / (most - least)) * (HEIGHT - TOP - BOTTOM);
    return { first, last, least, most, x, y };
  }

  function lines(plot) {
    const { first, last, least, most, x, y } = scales(plot.series);
    const drawn = plot.series.map((each) => plan("polyline", { class: `line ${each.tone}${each.dashed ? " dashed" : ""}`, "data-series": each.name, points: each.points.filter(([, value]) => value !== null).map(([time, value]) => `${x(time).toFixed(2)},${y(value).toFixed(2)}`).join(" "), fill: "none" }));
    const marks = [[most, plot.top], [least, plot.bottom]].map(([value, text]) => plan("text", { x: WIDTH - RIGHT + 6, y: (y(value) + 4).toFixed(1) }, hidden(plot.unit) ? "•••" : text));
    const when = (time) => (last - first > 2 * DAY ? Dash.timeText(time, true).slice(0, 10) : Dash.timeText(time, false).slice(0, 5));
    const ends = [plan("text", { x: LEFT, y: HEIGHT - 5 }, when(first)), plan("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, when(last))];
    return plan("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${plot.title}. ${plot.says}` }, plan("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(least), y2: y(least) }), drawn, marks, ends);
  }

  function bars(plot) {
    const points = plot.series[0].points, most = Math.max(1, ...points.map(([, value]) => value));
    const step = (WIDTH - LEFT - 8) / points.length;
    const height = (value) => (value / most) * (HEIGHT - TOP - BOTTOM);
    const drawn = points.map(([label, value], index) => plan("rect", { class: label.startsWith("-") ? "bar down" : "bar up", x: (LEFT + index * step).toFixed(1), width: Math.max(1, step - 2).toFixed(1), y: (HEIGHT - BOTTOM - height(value)).toFixed(1), height: height(value).toFixed(1) }, plan("title", {}, `${hidden("USDT") ? "•••" : label}: ${value}`)));
    const ends = points.length && !hidden("USDT") ? [plan("text", { x: LEFT, y: HEIGHT - 5 }, points[0][0].replace("-", "−")), plan("text", { x: WIDTH - 8, y: HEIGHT - 5, "text-anchor": "end" }, points[points.length - 1][0].replace("-", "−"))] : [];
    return plan("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${plot.title}. ${plot.says}` }, drawn, ends);
  }

  // Weeks from left to right, Monday on top; a stronger colour is a larger result.
  function calendar(plot) {
    const days = new Map(plot.series[0].points), last = [...days.keys()].reduce((most, day) => (day > most ? day : most));
    const largest = Math.max(...[...days.values()].map(Math.abs)) || 1;
    const end = Date.parse(`${last}T00:00:00Z`), weekday = (time) => (new Date(time).getUTCDay() + 6) % 7;
    const weeks = 53, begin = end - (weekday(end) + (weeks - 1) * 7) * DAY, size = 11;
    const cells = [];
    for (let time = begin; time <= end; time += DAY) {
      const day = new Date(time).toISOString().slice(0, 10), value = days.get(day);
      const place = { x: Math.floor((time - begin) / (7 * DAY)) * size, y: weekday(time) * size, width: size - 2, height: size - 2, rx: 2 };
      const shade = value === undefined ? "none" : value > 0 ? "up" : value < 0 ? "down" : "flat";
      const strong = value === undefined ? 1 : (0.35 + 0.65 * Math.abs(value) / largest).toFixed(2);
      cells.push(plan("rect", { ...place, class: `day ${shade}`, "fill-opacity": strong, "data-day": value === undefined ? null : day }, plan("title", {}, value === undefined ? `${day}: no trade closed` : `${day}: ${figure(value, plot.unit)} ${plot.unit}`)));
    }
    return plan("svg", { class: "calendar", viewBox: `0 0 ${weeks * size} ${7 * size}`, role: "img", "aria-label": `${plot.title}. ${plot.says}` }, cells);
  }

  Dash.plot = function (plot) {
    const drawn = { lines, bars, calendar }[plot.kind](plot);
    const legend = plot.series.length > 1 ? plan("ul", { class: "legend" }, plot.series.map((each) => plan("li", { class: each.tone }, `${each.dashed ? "- - " : "— "}${each.name}`))) : null;
    return plan("figure", { class: "figure-box", "data-key": `plot ${plot.title}` }, plan("figcaption", { class: "says" }, plot.title), drawn, legend);
  };
})(window.Dash);
