// Draws cells, facts, tables and curves as elements; text is only ever text. What stands already is changed in place,
// so that focus, open details and the reader's place survive a refresh.
"use strict";
(function (Dash) {
  const SVG = "http://www.w3.org/2000/svg";
  const HIDDEN = "•••";

  // A planned element: tag, attributes, children (planned elements or texts).
  const plan = (tag, attributes, ...children) => ({ tag, attributes: attributes || {}, children: children.flat().filter((each) => each !== null && each !== undefined) });
  Dash.plan = plan;

  function make(wanted) {
    if (typeof wanted === "string") return document.createTextNode(wanted);
    const svg = ["svg", "polyline", "line", "circle", "text", "rect", "title"].includes(wanted.tag);
    const element = svg ? document.createElementNS(SVG, wanted.tag) : document.createElement(wanted.tag);
    fit(element, wanted);
    return element;
  }

  function fit(element, wanted) {
    for (const name of element.getAttributeNames()) {
      if (!(name in wanted.attributes) && !(name === "open" && wanted.tag === "details")) element.removeAttribute(name);
    }
    for (const [name, value] of Object.entries(wanted.attributes)) {
      if (value === null || value === undefined || value === "") element.removeAttribute(name);
      else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
    }
    fill(element, wanted.children);
  }

  function fits(node, wanted) {
    if (typeof wanted === "string") return node.nodeType === Node.TEXT_NODE;
    return node.nodeType === Node.ELEMENT_NODE && node.localName === wanted.tag;
  }

  // Makes an element's children what is wanted; children with a data-key keep their element wherever they move.
  function fill(element, children) {
    const keyed = new Map();
    for (const node of element.children) if (node.dataset && node.dataset.key) keyed.set(node.dataset.key, node);
    let place = element.firstChild;
    for (const wanted of children) {
      const key = typeof wanted === "string" ? null : wanted.attributes["data-key"];
      let node = key ? keyed.get(key) : place;
      if (!key && node && node.dataset && node.dataset.key) node = null;
      if (node && fits(node, wanted)) {
        if (node !== place) element.insertBefore(node, place);
        else place = place.nextSibling;
        if (typeof wanted === "string") { if (node.data !== wanted) node.data = wanted; } else fit(node, wanted);
      } else {
        element.insertBefore(make(wanted), place);
      }
    }
    while (place) { const next = place.nextSibling; place.remove(); place = next; }
  }
  Dash.fill = fill;

  // Making a formatter costs more than a hundred uses of it.
  const formats = new Map();
  function written(name, style) {
    if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat("en-CA", style));
    return formats.get(name);
  }

  const DAY = { year: "numeric", month: "2-digit", day: "2-digit" }, CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const zoned = () => (Dash.choice("zone") === "utc" ? "UTC" : undefined);
  const say = (name, style, moment) => written(`${name} ${zoned()}`, { ...style, timeZone: zoned() }).format(moment).replace(",", "");

  // The clock, with its zone; with the day where it is asked for.
  Dash.timeText = function (raw, withDate) {
    const moment = new Date(raw);
    if (Number.isNaN(moment.getTime())) return raw;
    return say(withDate ? "full" : "clock", { ...CLOCK, ...(withDate ? DAY : {}), timeZoneName: "short" }, moment);
  };

  // The clock alone on the day that it is, day and hour before; the whole stands in the title.
  Dash.briefTime = function (raw) {
    const moment = new Date(raw);
    if (Number.isNaN(moment.getTime())) return raw;
    if (say("day", DAY, moment) === say("day", DAY, new Date(Dash.now()))) return say("brief", CLOCK, moment);
    return say("old", { ...DAY, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, moment);
  };

  Dash.untilText = (cell) => {
    const left = (Date.parse(cell.raw) - Dash.now()) / 1000;
    return left > 0 ? `${cell.text}, in ${Dash.ageWords(left)}` : `${cell.text}, due now`;
  };

  // An address of ours with the bot that was chosen.
  Dash.linked = (path) => Dash.root + (Dash.state.bot ? `${path}?${new URLSearchParams({ bot: Dash.state.bot })}` : path);

  Dash.cell = function (cell) {
    if (cell.kind === "time" && cell.raw) {
      const parts = Dash.briefTime(cell.raw).split(" ").map((part) => plan("span", {}, part));
      return plan("time", { class: "cell", datetime: cell.raw, title: Dash.timeText(cell.raw, true) }, parts.flatMap((part, at) => (at ? [" ", part] : [part])));
    }
    if (cell.kind === "link" && cell.raw) return plan("a", { class: "cell kind-link", href: Dash.linked(cell.raw) }, cell.text);
    if (cell.kind === "until") return plan("span", { class: `cell kind-until${cell.tone ? ` tone-${cell.tone}` : ""}`, "data-raw": cell.raw }, Dash.untilText(cell));
    if (cell.kind === "bot") {
      const here = cell.raw === Dash.state.snapshot.bot_id;
      return plan("a", { class: "cell kind-bot", href: `?${new URLSearchParams({ bot: cell.raw })}`, "aria-current": here ? "true" : null }, cell.text);
    }
    let text = cell.text;
    if ((cell.kind === "age" || cell.kind === "since") && cell.raw) text = `${Dash.ageWords((Dash.now() - Date.parse(cell.raw)) / 1000)}${cell.kind === "age" ? " ago" : ""}`;
    const hide = cell.kind === "amount" && Dash.choice("hide") === "yes" && cell.raw;
    const classes = `cell kind-${cell.kind}${cell.tone ? ` tone-${cell.tone}` : ""}`;
    return plan("span", { class: classes, title: hide ? null : cell.title || null, "data-raw": hide ? null : cell.raw }, hide ? HIDDEN : text);
  };

  Dash.facts = (list) => plan("dl", { class: "facts" }, list.map((fact) => plan("div", {}, plan("dt", {}, fact.label), plan("dd", {}, Dash.cell(fact.cell)))));

  // What stands in a closed <details> is drawn when somebody opens it: a thousand elements that nobody looks at.
  const opened = new Set();
  document.addEventListener("toggle", (event) => {
    const key = event.target.dataset && event.target.dataset.opens;
    if (!key || event.target.open === opened.has(key)) return;
    if (event.target.open) opened.add(key); else opened.delete(key);
    Dash.redraw();
  }, true);
  const shut = (key, attributes, summary, inside) => plan("details", { ...attributes, "data-opens": key }, summary, opened.has(key) ? inside() : null);

  const looks = (table, index) => [table.numeric.includes(index) ? "figure" : "", table.minor.includes(index) ? "minor" : ""].filter(Boolean).join(" ");

  // Where the price stands between stop and target: a picture of figures that stand beside it.
  function gauge(table, row) {
    const at = (label) => { const raw = row.cells[table.columns.indexOf(label)].raw; return raw ? Number(raw) : null; };
    const known = ["Stop", "Entry", "Mark", "Target"].map((label) => [label, at(label)]).filter(([, price]) => price !== null);
    const prices = known.map(([, price]) => price);
    const least = Math.min(...prices), span = Math.max(...prices) - least;
    if (known.length < 3 || !span) return null;
    const x = (price) => (20 + ((price - least) / span) * 360).toFixed(1);
    const [entry, mark] = [at("Entry"), at("Mark")];
    const won = (mark >= entry) === (row.cells[table.columns.indexOf("Side")].raw === "LONG");
    return plan("svg", { class: "gauge", viewBox: "0 0 400 26", "aria-hidden": "true" },
      plan("line", { class: "rail", x1: 20, x2: 380, y1: 7, y2: 7 }),
      plan("line", { class: won ? "won" : "lost", x1: x(entry), x2: x(mark), y1: 7, y2: 7 }),
      known.filter(([label]) => label !== "Mark").map(([label, price]) => plan("line", { class: `tick ${label.toLowerCase()}`, x1: x(price), x2: x(price), y1: 1, y2: 13 })),
      plan("circle", { class: "mark", cx: x(mark), cy: 7, r: 4 }),
      known.filter(([label]) => label !== "Mark").map(([label, price]) => plan("text", { x: x(price), y: 24, "text-anchor": "middle" }, label.toLowerCase())));
  }

  // The badge of a row that has a state of its own, in the words of pages.py.
  function alive(cell, is) {
    if (is === "error") return { ...cell, text: "—" };
    const ended = is === "down" && ["STOPPED", "STOPPING"].includes(cell.text);
    return { ...cell, text: is === "fresh" || ended ? cell.text : Dash.stateWord(is), tone: { fresh: "good", late: "warn" }[is] || "bad" };
  }

  Dash.rowState = (row) => (row.life ? Dash.cardState({ base: (Dash.state.snapshot.cards.bots || { base: "data" }).base, ...row.life }) : null);

  Dash.row = function (table, row) {
    const is = Dash.rowState(row);
    const cells = row.cells.map((given, index) => {
      const cell = given.kind === "life" ? alive(given, is) : given;
      const label = table.columns[index];
      const figure = looks(table, index);
      if (index === 0) return plan("th", { role: "rowheader", scope: "row", "data-label": label }, Dash.cell(cell), table.look === "risk" ? gauge(table, row) : null, Dash.rowAction(table, row));
      const last = index === row.cells.length - 1 && row.details.length > 0;
      const inner = last ? shut(`${table.caption} ${row.key}`, {}, plan("summary", {}, Dash.cell(cell)), () => Dash.facts(row.details)) : Dash.cell(cell);
      return plan("td", { role: "cell", "data-label": label, class: figure }, inner);
    });
    return plan("tr", { role: "row", "data-key": row.key, "data-state": is }, cells);
  };

  Dash.table = function (table) {
    const heads = table.columns.map((column, index) => plan("th", { role: "columnheader", scope: "col", class: looks(table, index) }, column));
    const whole = () => plan("div", { class: `table ${table.look}` }, plan("table", { role: "table" }, plan("caption", {}, table.caption),
      plan("thead", { role: "rowgroup" }, plan("tr", { role: "row" }, heads)),
      plan("tbody", { role: "rowgroup" }, table.rows.map((row) => Dash.row(table, row)))));
    return table.folded ? shut(table.caption, { class: "folded" }, plan("summary", {}, table.caption), whole) : whole();
  };

  Dash.curve = function (values, label) {
    const least = Math.min(...values), most = Math.max(...values), span = most - least || 1;
    const points = values.map((value, index) => `${(index / Math.max(1, values.length - 1)) * 300},${(58 - ((value - least) / span) * 56).toFixed(2)}`);
    return plan("svg", { class: "curve", viewBox: "0 0 300 60", preserveAspectRatio: "none", role: "img", "aria-label": label },
      plan("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "1.5", "vector-effect": "non-scaling-stroke" }));
  };

  // A card's one figure on top of the page: grey and with its age as soon as it is not of now.
  Dash.tile = function (element, card, state, ageText) {
    const tile = state === "unknown" ? null : card.tiles[Number(element.dataset.index)];
    if (element.dataset.state !== state) element.dataset.state = state;
    if (tile) Dash.fill(element.querySelector(".label"), [tile.label]);
    const gone = !tile || (card.base === "empty" && state !== "empty");
    const most = gone ? "—" : state === "down" && card.name === "status" ? plan("span", { class: "cell tone-bad" }, Dash.stateWord(state)) : Dash.cell(tile.value);
    const below = ["fresh", "empty"].includes(state) ? (tile ? Dash.cell(tile.below) : "") : ageText ? `${Dash.stateWord(state)}, ${ageText} old` : Dash.stateWord(state);
    Dash.fill(element.querySelector(".most"), [most]);
    Dash.fill(element.querySelector(".below"), [below]);
  };

  // The body of a card in the state it has now.
  Dash.body = function (card, state, ageText) {
    const parts = [];
    if (state === "empty") parts.push(plan("p", { class: "reason" }, `${card.reason} (checked ${ageText} ago)`));
    else if (state === "unknown") parts.push(plan("p", { class: "reason" }, card.reason || "—"));
    else if (state === "error") parts.push(plan("p", { class: "reason" }, card.as_of_ms === null ? card.reason : `${card.reason} What follows is the last good content.`));
    else if (card.base === "empty") parts.push(plan("p", { class: "reason" }, `At the last update, ${ageText} ago, there was none; that may have changed.`));
    if (state === "unknown") return parts;
    if (card.facts.length) parts.push(Dash.facts(card.facts));
    if (card.curve.length > 1) parts.push(Dash.curve(card.curve, `Learning curve from ${card.curve[0].toFixed(4)} to ${card.curve[card.curve.length - 1].toFixed(4)}`));
    if ((card.plots || []).length) parts.push(plan("div", { class: "plots" }, card.plots.map(Dash.plot)));
    for (const table of card.tables) if (table.rows.length) parts.push(Dash.table(table));
    if (card.picture) parts.push(shut(`picture ${card.name}`, { class: "folded" }, plan("summary", {}, "Show the chart that was analysed"), () => plan("img", { class: "picture", src: `${Dash.root}/${card.picture}`, alt: `The chart that the analyst saw. ${card.notes.join(" ")}` })));
    if (card.notes.length) parts.push(plan("ul", { class: "notes" }, card.notes.map((note) => plan("li", {}, note))));
    return parts;
  };
})(window.Dash);
