// Commands to the bot: two steps, the first says what will happen, and the server checks everything again.
"use strict";
(function (Dash) {
  const at = (id) => document.getElementById(id);
  const plan = Dash.plan;
  const FINAL = ["done", "refused", "failed", "expired"];
  const SERVICES = { rl_bot: "trading bot", chart_bot: "chart bot", mcp_server: "API server", paper_exchange: "paper exchange" };
  const session = { loggedIn: false, csrf: "", closed: "", rules: [], known: false, command: null, next: null };

  const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  async function send(path, body) {
    const answer = await fetch(path, {
      method: "POST", cache: "no-store", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-CSRF-Token": session.csrf },
    });
    const said = await answer.json().catch(() => ({ error: `answer ${answer.status}` }));
    return { status: answer.status, said, wait: Number(answer.headers.get("Retry-After") || 0) };
  }

  async function look(path) {
    const answer = await fetch(path, { cache: "no-store" });
    return answer.ok ? answer.json() : null;
  }

  async function readSession(given) {
    const found = given || (await look(`${Dash.root}/api/session`));
    if (!found) return;
    session.known = true; session.loggedIn = found.logged_in; session.csrf = found.csrf; session.closed = found.closed_because;
    if (session.loggedIn) {
      const rules = await look(`${Dash.root}/api/control/rules`);
      session.rules = rules ? Object.keys(rules.rules) : [];
    }
    Dash.drawControls();
  }

  const button = (label, action, target, off) => plan("button", { type: "button", "data-action": action, "data-target": target || "", disabled: off ? "disabled" : null, "data-key": `${action}-${target || ""}` }, label);

  const pauseButton = (pair) => { const paused = Dash.state.snapshot.headline.paused_pairs.includes(pair); return button(`${paused ? "Resume" : "Pause"} ${pair}`, paused ? "resume" : "pause", pair); };

  // Buttons in each position's row, as soon as the PIN was shown.
  Dash.rowAction = function (table, row) {
    if (!session.loggedIn || table.look !== "risk") return null;
    const old = !["fresh", "late"].includes(Dash.cardState(Dash.state.snapshot.cards.positions));
    const pair = row.cells[0].raw;
    return plan("span", { class: "row" }, [button(`Close ${pair}`, "close", pair, old), pauseButton(pair)]);
  };

  Dash.drawControls = function () {
    const place = at("controls"), snapshot = Dash.state.snapshot;
    if (!place || !snapshot) return;
    if (!session.known) { Dash.fill(place, []); return; }
    if (session.closed) { Dash.fill(place, [plan("p", { class: "reason" }, session.closed)]); return; }
    if (!session.loggedIn) { Dash.fill(place, [plan("div", { class: "row" }, button("Enter the PIN to control the bot", "login"))]); return; }
    const positions = snapshot.cards.positions;
    const old = positions && !["fresh", "late"].includes(Dash.cardState(positions));
    const symbols = positions ? positions.tables.flatMap((table) => table.rows.map((row) => row.cells[0].raw)) : [];
    const present = snapshot.cards.control.facts.find((fact) => fact.label === "Rules in force");
    const others = session.rules.filter((name) => !present || name !== present.cell.raw);
    Dash.fill(place, [
      plan("div", { class: "row", "data-key": "entries" }, button("Pause entries", "pause"), button("Resume entries", "resume"), button("Trip the breaker", "trip"), button("Reset the breaker", "reset")),
      plan("div", { class: "row", "data-key": "pairs" }, snapshot.pairs.map(pauseButton)),
      plan("div", { class: "row", "data-key": "close" }, symbols.map((symbol) => button(`Close ${symbol}`, "close", symbol, old))),
      plan("div", { class: "row", "data-key": "rules" }, others.map((name) => button(`Switch to rules ${name}`, "rules", name))),
      plan("div", { class: "row", "data-key": "services" }, Object.entries(SERVICES).flatMap(([name, title]) => [button(`Start ${title}`, `start:${name}`), button(`Restart ${title}`, `restart:${name}`), button(`Stop ${title}`, `stop:${name}`)])),
      plan("div", { class: "row", "data-key": "out" }, button("Log out", "logout")),
    ]);
  };

  function open(title, says, parts) {
    at("ask-title").textContent = title;
    at("ask-says").textContent = says;
    at("ask-answer").textContent = "";
    at("ask-pin").hidden = at("ask-keys").hidden = !parts.pin;
    at("ask-typed").hidden = !parts.typed;
    at("ask-typed-label").textContent = parts.typed ? `Live trading: type ${parts.typed} to confirm` : "";
    at("typed").value = ""; at("pin").value = "";
    at("ask-do").hidden = false; at("ask-do").disabled = false;
    at("ask-do").textContent = parts.pin ? "Log in" : "Do it";
    at("ask-close").textContent = "Cancel";
    at("ask").showModal();
    if (parts.pin) at("pin").focus();
  }

  // ``next`` is what the person wanted to do: it goes on once the PIN was right.
  function openLogin(next) {
    session.command = { login: true };
    session.next = typeof next === "function" ? next : null;
    open("Enter the PIN", session.closed || "Commands need the PIN that stands in .env as BOT_CONTROL_PIN. Viewing does not.", { pin: true });
  }

  // Runs ``work`` for somebody who has shown the PIN, after asking for it where it was not.
  Dash.withPin = (work) => (session.loggedIn ? work() : openLogin(work));
  Dash.send = (path, body) => send(path, body);

  async function openCommand(action, target, label) {
    const bot = Dash.state.snapshot.bot_id;
    const answer = await fetch(`${Dash.root}/api/control/plan?${new URLSearchParams({ action, target, bot })}`, { cache: "no-store" });
    const said = await answer.json();
    if (answer.status === 401) { session.loggedIn = false; Dash.drawControls(); openLogin(() => openCommand(action, target, label)); return; }
    session.command = { action, target, bot, key: newKey() };
    open(label, answer.ok ? said.says : said.error, { typed: answer.ok ? said.type_to_confirm : "" });
    if (!answer.ok) end(said.error);
  }

  function end(words) {
    at("ask-answer").textContent = words;
    at("ask-do").hidden = true;
    at("ask-close").textContent = "Close";
  }

  async function logIn() {
    const { status, said, wait } = await send(`${Dash.root}/api/login`, { pin: at("pin").value });
    at("pin").value = "";
    if (status === 200) {
      if (document.body.dataset.locked === "yes") { location.reload(); return; }
      at("ask").close();
      await readSession();
      Dash.redraw();
      const next = session.next;
      session.next = null;
      if (next) next();
      return;
    }
    at("ask-answer").textContent = wait ? `${said.error} Next try in ${wait} s.` : said.error;
    at("ask-do").disabled = false;
    at("pin").focus();
  }

  async function sendCommand() {
    const { action, target, bot, key } = session.command;
    const { status, said } = await send(`${Dash.root}/api/control`, { action, target, bot, key, confirm: at("typed").value });
    if (status === 409) { at("ask-answer").textContent = said.error; at("ask-do").disabled = false; return; }
    if (status !== 200 && status !== 202) { end(said.error); return; }
    let told = said;
    for (let second = 0; second < 75 && !FINAL.includes(told.status); second += 1) {
      at("ask-answer").textContent = `${told.status === "taken" ? "The bot is doing it" : "Waiting for the bot"} … ${second} s`;
      await new Promise((done) => setTimeout(done, 1000));
      told = (await look(`${Dash.root}/api/control/${told.key}`)) || told;
    }
    end(FINAL.includes(told.status) ? `${told.status.toUpperCase()}: ${told.answer}` : "No answer yet; the audit list will show it.");
    Dash.ask();
  }

  async function logOut() {
    await send(`${Dash.root}/api/logout`, {});
    session.loggedIn = false; session.csrf = "";
    Dash.redraw();
    if (document.body.dataset.locked === "yes") location.reload();
    Dash.drawControls();
  }

  Dash.wireControls = function () {
    const place = at("controls");
    if (place) {
      place.addEventListener("click", (event) => {
        const pressed = event.target.closest("button[data-action]");
        if (!pressed || pressed.disabled) return;
        const { action, target = "" } = pressed.dataset;
        if (action === "login") openLogin();
        else if (action === "logout") logOut();
        else openCommand(action, target, pressed.textContent);
      });
    }
    at("entries").addEventListener("click", (event) => { const paused = Dash.state.snapshot.headline.paused; Dash.withPin(() => openCommand(paused ? "resume" : "pause", "", event.target.textContent)); });
    at("close-all").addEventListener("click", () => Dash.withPin(() => openCommand("close_all", "", "Close all")));
    at("cards").addEventListener("click", (event) => {
      const pressed = event.target.closest("#card-positions button[data-action]");
      if (pressed && !pressed.disabled) openCommand(pressed.dataset.action, pressed.dataset.target || "", pressed.textContent);
    });
    at("ask-keys").addEventListener("click", (event) => {
      const digit = event.target.dataset.digit;
      if (digit) at("pin").value = digit === "back" ? at("pin").value.slice(0, -1) : at("pin").value + digit;
      at("pin").focus();
    });
    const begin = () => { if (at("ask-do").disabled || at("ask-do").hidden) return; at("ask-do").disabled = true; (session.command.login ? logIn() : sendCommand()).catch(() => end("The dashboard's server did not answer. Check the audit list before you try again.")); };
    at("ask-do").addEventListener("click", begin);
    for (const id of ["pin", "typed"]) at(id).addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); begin(); } });
    at("unlock").addEventListener("click", openLogin);
    if (document.body.dataset.locked !== "yes") readSession(JSON.parse(document.body.dataset.session));
  };
})(window.Dash);
