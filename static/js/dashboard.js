// The page's heart: one tick a second that counts ages, judges states, and asks the server when it is due.
"use strict";
(function (Dash) {
  const EVERY_MS = 30000, TIMEOUT_MS = 10000, WAITS_S = [5, 10, 20, 40, 60], ALARM_AFTER_MS = 35000, FRESH_LOOK_MS = 10000;
  const at = (id) => document.getElementById(id);
  const plan = Dash.plan;
  const state = {
    snapshot: null, etag: null, serverMs: 0, heardAt: 0, heardWall: 0, nextAt: 0, inFlight: null, failures: 0,
    filter: "all", bot: new URLSearchParams(location.search).get("bot") || "", older: [], cursor: null, wasDown: false, push: null, version: 0, drawn: {},
  };
  Dash.state = state;

  // Choices are kept by this browser; nothing secret is.
  const DEFAULTS = { theme: "dark", colours: "standard", zone: "viewer", hide: "no", push: "no", paused: "no" };
  Dash.choice = (name) => localStorage.getItem(`dash-${name}`) || DEFAULTS[name];
  const choose = (name, value) => { localStorage.setItem(`dash-${name}`, value); };

  // Milliseconds since the server was last heard; neither a sleeping laptop nor a clock set back makes it too small.
  const sinceHeard = () => Math.max(performance.now() - state.heardAt, Date.now() - state.heardWall);
  Dash.now = () => state.serverMs + sinceHeard();
  const paused = () => Dash.choice("paused") === "yes";
  const silent = () => state.failures > 0 && sinceHeard() > ALARM_AFTER_MS;

  // A process is down when the server said so a moment ago, or cannot be asked; else it is asked first.
  function sourceIsDown(name) {
    const source = state.snapshot.sources[name];
    if (silent()) return true;
    if (!Dash.isDown(source, Dash.now())) return false;
    if (["stopped", "stopping"].includes(source.phase)) return true;
    if (sinceHeard() < FRESH_LOOK_MS || state.failures > 0) return true;
    if (!paused() && !document.hidden && !state.inFlight && name === "bot") ask();
    return Dash.now() - source.beat_ms > source.down_after_s * 1000 + FRESH_LOOK_MS && !paused();
  }

  Dash.cardState = (card) => (silent() ? (card.base === "unknown" ? "unknown" : "down") : Dash.stateOf(card, Boolean(card.source) && sourceIsDown(card.source), Dash.now()));

  const tiles = new Map();
  function tilesOf(name) {
    if (!tiles.has(name)) tiles.set(name, [...document.querySelectorAll(`.tile[data-of="${name}"]`)]);
    return tiles.get(name);
  }

  function drawCard(card) {
    const section = at(`card-${card.name}`);
    if (!section) return;
    const is = Dash.cardState(card);
    const age = card.as_of_ms === null ? "" : Dash.ageWords((Dash.now() - card.as_of_ms) / 1000);
    stamp(section, is, card.as_of_ms, age);
    if (card.tiles.length || is === "unknown") for (const tile of tilesOf(card.name)) Dash.tile(tile, card, is, age);
    const live = is === "empty" || (card.base === "empty" && is !== "unknown");  // words that hold an age
    const lives = card.name === "bots" ? card.tables.flatMap((table) => table.rows.map(Dash.rowState)) : [];
    const key = `${is} ${state.version} ${lives}`;
    if (!live && state.drawn[card.name] === key) { countOn(section); return; }
    state.drawn[card.name] = key;
    let shown = card;
    if (card.name === "journal" && state.older.length && card.tables.length) {
      const seen = new Set(card.tables[0].rows.map((row) => row.key));
      const rows = card.tables[0].rows.concat(state.older.filter((row) => !seen.has(row.key)));
      shown = { ...card, tables: [{ ...card.tables[0], rows }] };
    }
    Dash.fill(section.querySelector(".body"), Dash.body(shown, is, age));
  }

  // Ages within a card go on from second to second; nothing else in it does.
  function countOn(section) {
    for (const span of section.querySelectorAll(".kind-age[data-raw], .kind-since[data-raw]")) {
      const gone = Dash.ageWords((Dash.now() - Date.parse(span.dataset.raw)) / 1000);
      const text = span.classList.contains("kind-age") ? `${gone} ago` : gone;
      if (span.firstChild.data !== text) span.firstChild.data = text;
    }
  }

  Dash.redraw = function () { state.version += 1; Dash.draw(); };

  function stamp(section, is, asOfMs, age) {
    if (section.dataset.state !== is) section.dataset.state = is;
    Dash.fill(section.querySelector(".state"), [is.toUpperCase()]);
    const when = asOfMs === null ? [] : [plan("span", { class: "unseen" }, "as of "), plan("time", { datetime: new Date(asOfMs).toISOString() }, Dash.timeText(asOfMs, Dash.now() - asOfMs > 43200000)), `, ${age} ago`];
    Dash.fill(section.querySelector(".age"), when);
  }
  Dash.stamp = stamp;

  // "LONG 0.1 BTCUSDT from 62052.8" says who may be open also to somebody who shall not see how much.
  function withoutAmounts(held) {
    if (Dash.choice("hide") !== "yes") return held;
    const [side, , symbol] = held.split(" ");
    return `${side} ${symbol}`;
  }

  // Another bot than the page's, which nobody stopped; after a day its row alone tells of it.
  function fellSilent(bot) {
    const gone = Dash.now() - bot.beat_ms;
    return bot.bot_id !== state.snapshot.bot_id && !["stopped", "stopping"].includes(bot.phase) && gone < 86400000 && Dash.isDown(bot, Dash.now());
  }

  function drawAlarm() {
    const said = [], snapshot = state.snapshot, bot = snapshot.sources.bot;
    const held = snapshot.held === null ? "Whether positions are open is not known." : snapshot.held.length
      ? `May be open at the exchange: ${snapshot.held.map(withoutAmounts).join("; ")}.` : "Whether positions are open is not known now; the last look saw none.";
    if (silent()) {
      said.push(`DOWN. The dashboard's server does not answer; what you see is ${Dash.ageWords(sinceHeard() / 1000)} old.`, held,
        "Look whether it runs: ./scripts/status_all.sh. Stops and targets stand at the exchange.");
    } else if (snapshot.database !== "ok") {
      said.push(snapshot.database, "The bot may go on trading; this page shows the last it could read, with its age.");
    } else if (sourceIsDown("bot")) {
      const gone = Dash.ageWords((Dash.now() - bot.beat_ms) / 1000);
      const word = ["stopped", "stopping"].includes(bot.phase) ? `The bot was stopped ${gone} ago.` : `The bot has not reported for ${gone}.`;
      said.push(`DOWN. ${word}`, `${held} Seen ${gone} ago.`,
        "What to do: ./scripts/status_all.sh says what runs, ./scripts/start_rl_bot.sh start starts it again; before its first decision it compares itself with the exchange.");
    }
    if (!silent() && snapshot.database === "ok") for (const each of snapshot.bots.filter(fellSilent)) {
      said.push(`DOWN: bot ${each.bot_id} has not reported for ${Dash.ageWords((Dash.now() - each.beat_ms) / 1000)}.`);
    }
    const alarm = at("alarm"), down = said.length > 0;
    alarm.hidden = !down;
    Dash.fill(alarm, said.map((text) => plan("p", {}, text)));
    if (down !== state.wasDown) mark(down);
    state.wasDown = down;
    document.title = `${down ? "(!) DOWN – " : ""}${Dash.open ? `${Dash.open} ` : ""}Trading bot`;
  }

  function mark(down) {
    const shape = down ? "<rect width='16' height='16' rx='3' fill='#b3261e'/><path d='M8 3v6M8 11v2' stroke='#fff' stroke-width='2'/>" : null;
    at("icon").href = shape ? `data:image/svg+xml,${encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>${shape}</svg>`)}` : "favicon.ico";
    at("say").textContent = down ? "" : "The bot reports again.";
  }

  function drawBots() {
    const bots = state.snapshot.bots, select = at("bot");
    at("bots").hidden = bots.length < 2;
    at("card-bots").hidden = !state.snapshot.cards.bots;
    Dash.fill(select, bots.map((bot) => {
      const down = Dash.isDown(bot, Dash.now());
      return plan("option", { value: bot.bot_id }, `${bot.bot_id}, ${bot.mode}${bot.world === "live" ? "" : ` ${bot.world}`}${down ? ", DOWN" : ""}`);
    }));
    select.value = state.snapshot.bot_id;
    const own = bots.find((bot) => bot.bot_id === state.snapshot.bot_id);
    document.body.dataset.mode = state.snapshot.mode;
    const made = state.snapshot.demo ? `, ${state.snapshot.world} market: ${state.snapshot.world === "replay" ? "past" : "made-up"} prices` : "";
    at("mode").textContent = `${state.snapshot.mode.toUpperCase()}${made}`;
    return own;
  }

  function drawRefresh() {
    const left = Math.max(0, Math.ceil((state.nextAt - performance.now()) / 1000));
    at("updated").textContent = state.failures ? `No answer ${state.failures === 1 ? "once" : `${state.failures} times`}.` : `Heard ${Dash.ageWords(sinceHeard() / 1000)} ago.`;
    at("countdown").textContent = paused() ? "Paused." : state.inFlight ? "Asking now." : `Next look in ${left} s.`;
    const button = at("pause");
    button.setAttribute("aria-pressed", String(paused()));
    button.textContent = paused() ? "Go on" : "Pause";
  }

  Dash.draw = function () {
    if (!state.snapshot) return;
    for (const card of Object.values(state.snapshot.cards)) drawCard(card);
    const journal = state.snapshot.cards.journal;
    at("older").hidden = !(journal.tables.length && journal.tables[0].rows.length >= 20 && state.cursor !== "");
    drawAlarm();
    drawBots();
    drawRefresh();
    Dash.drawControls();
    Dash.drawChartStamp();
  };

  function tick() {
    if (document.hidden || !state.snapshot) return;
    if (!paused() && !state.inFlight && performance.now() >= state.nextAt) ask();
    Dash.draw();
  }

  // When the next look is due: every 30 s, and never later than the moment at which silence would mean DOWN.
  function schedule() {
    const bot = state.snapshot && state.snapshot.sources.bot;
    let wait = EVERY_MS;
    if (bot && bot.beat_ms !== null && !Dash.isDown(bot, Dash.now())) {
      wait = Math.min(wait, Math.max(5000, bot.beat_ms + bot.down_after_s * 1000 + 500 - Dash.now()));
    }
    state.nextAt = performance.now() + wait;
  }

  function retry() {
    const wait = WAITS_S[Math.min(state.failures, WAITS_S.length) - 1] * 1000;
    state.nextAt = performance.now() + wait * (0.9 + Math.random() * 0.2);
  }

  async function ask() {
    const stop = new AbortController();
    state.inFlight = stop;
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    const query = new URLSearchParams({ journal: state.filter });
    if (state.bot) query.set("bot", state.bot);
    try {
      const answer = await fetch(`api/dashboard?${query}`, { signal: stop.signal, cache: "no-store", headers: state.etag ? { "If-None-Match": state.etag } : {} });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.status !== 200 && answer.status !== 304) throw new Error(`answer ${answer.status}`);
      if (answer.status === 200) {
        state.snapshot = await answer.json();
        state.etag = answer.headers.get("ETag");
        state.version += 1;
      }
      heard(Number(answer.headers.get("X-Server-Time-Ms")));
      Dash.refreshChart();
      listen();
    } catch (error) {
      if (state.inFlight === stop) { state.failures += 1; retry(); }
    } finally {
      clearTimeout(timer);
      if (state.inFlight === stop) state.inFlight = null;
    }
    Dash.draw();
  }
  Dash.ask = function () { if (state.inFlight) { const old = state.inFlight; state.inFlight = null; old.abort(); } return ask(); };

  function heard(serverMs) {
    state.serverMs = serverMs;
    state.heardAt = performance.now();
    state.heardWall = Date.now();
    state.failures = 0;
    Dash.open = Object.values(state.snapshot.cards.positions.tables).reduce((sum, table) => sum + table.rows.length, 0);
    schedule();
  }

  async function showOlder() {
    const rows = state.snapshot.cards.journal.tables[0].rows.concat(state.older);
    const query = new URLSearchParams({ filter: state.filter });
    if (state.bot) query.set("bot", state.bot);
    query.set("cursor", state.cursor || cursorOf(rows[rows.length - 1]));
    const answer = await fetch(`api/journal?${query}`, { cache: "no-store" });
    if (!answer.ok) { at("say").textContent = "Older decisions cannot be read now."; return; }
    const page = await answer.json();
    state.older = state.older.concat(page.rows);
    state.cursor = page.cursor || "";
    Dash.redraw();
  }
  const cursorOf = (row) => `${row.cells[0].raw}_${row.key.replace("turn-", "")}`;

  function applyChoices() {
    dress();
    listen();
    Dash.restyleChart();
    Dash.redraw();
  }

  function dress() {
    document.documentElement.dataset.theme = Dash.choice("theme");
    document.documentElement.dataset.colours = Dash.choice("colours");
    for (const name of ["theme", "colours", "zone"]) at(name).value = Dash.choice(name);
    for (const name of ["hide", "push"]) at(name).checked = Dash.choice(name) === "yes";
    at("pause").setAttribute("aria-pressed", String(paused()));
    // What the server draws obeys, too: the first sight of this page, and the period's report.
    const hides = Dash.choice("hide") === "yes";
    document.cookie = `dash-hide=yes; path=/; samesite=lax; max-age=${hides ? 31536000 : 0}`;
    if (at("csv")) at("csv").textContent = `Trades as CSV${hides ? ", without amounts" : ""}`;
  }

  // A nudge from the server only says that something changed; the page then asks as it always does.
  function listen() {
    const wanted = Dash.choice("push") === "yes" && !document.hidden && !paused();
    if (!wanted && state.push) { state.push.close(); state.push = null; }
    if (!wanted || state.push || !state.snapshot) return;
    state.push = new EventSource(`api/events?${new URLSearchParams({ bot: state.snapshot.bot_id })}`);
    state.push.addEventListener("error", (event) => { if (event.target.readyState === EventSource.CLOSED && state.push === event.target) state.push = null; });
    state.push.addEventListener("changed", () => { if (!state.inFlight && !document.hidden && !paused()) ask(); });
  }

  function wire() {
    for (const name of ["theme", "colours", "zone"]) at(name).addEventListener("change", (event) => { choose(name, event.target.value); applyChoices(); });
    for (const name of ["hide", "push"]) at(name).addEventListener("change", (event) => { choose(name, event.target.checked ? "yes" : "no"); applyChoices(); });
    at("refresh").addEventListener("click", () => Dash.ask());
    at("pause").addEventListener("click", () => { choose("paused", paused() ? "no" : "yes"); listen(); if (!paused()) Dash.ask(); Dash.draw(); });
    at("bot").addEventListener("change", (event) => { location.search = new URLSearchParams({ bot: event.target.value }).toString(); });
    at("older").addEventListener("click", showOlder);
    at("card-bots").addEventListener("click", (event) => {  // the whole row leads where its name does; text can be marked
      const row = event.target.closest("tr[data-key]");
      if (row && !event.target.closest("a") && !String(getSelection())) row.querySelector("a").click();
    });
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.addEventListener("click", () => {
        state.filter = button.dataset.filter; state.older = []; state.cursor = null; state.etag = null;
        for (const each of document.querySelectorAll("[data-filter]")) each.setAttribute("aria-pressed", String(each === button));
        Dash.ask();
      });
    }
    document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden && !paused()) Dash.ask(); });
  }

  function begin() {
    wire();
    Dash.wireControls();
    if (document.body.dataset.locked === "yes") { applyChoices(); return; }
    state.snapshot = JSON.parse(at("snapshot").textContent);
    heard(Number(document.body.dataset.serverMs) + Math.min(performance.now(), 5000) / 2);
    dress();
    drawAlarm();
    // Card by card, so that a slow phone can scroll in between; the server has drawn them already.
    const cards = Object.values(state.snapshot.cards);
    (function next() {
      if (cards.length) { drawCard(cards.shift()); setTimeout(next, 0); return; }
      listen();
      Dash.draw();
      Dash.startChart();
      setInterval(tick, 1000);
    })();
  }
  begin();
})(window.Dash);
