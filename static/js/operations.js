// What is changed from the pages beside the bot: notes, settings, backups, runs of the lab; each behind the PIN.
"use strict";
(function (Dash) {
  const at = (id) => document.getElementById(id);
  const plan = Dash.plan;
  const say = (id, text) => { const place = at(id); if (place) place.textContent = text; };

  async function told(id, path, body, done) {
    say(id, "Working …");
    const { status, said } = await Dash.send(path, body);
    say(id, status < 300 ? done(said) : said.error || (said.problems || []).join(" ") || `Answer ${status}.`);
    if (status < 300) Dash.ask();
    return status < 300 ? said : null;
  }

  function wireNote() {
    if (!at("note-save")) return;
    at("note-save").addEventListener("click", () => Dash.withPin(() => told("note-says", `${Dash.root}/api/trades/${document.body.dataset.trade}/note`, { note: at("note").value, tags: at("tags").value.split(/[\s,#]+/).filter(Boolean) }, () => "Saved.")));
    for (const note of (Dash.state.snapshot.cards.story || { notes: [] }).notes) {
      if (note.startsWith("Note: ")) at("note").value = note.slice(6);
      if (note.startsWith("Tags: ")) at("tags").value = note.slice(6).replace(/#/g, "");
    }
  }

  function wireBackups() {
    if (!at("backup-make")) return;
    at("backup-make").addEventListener("click", () => Dash.withPin(() => told("backup-says", `${Dash.root}/api/backups`, {}, (said) => `${said.made} was made.`)));
    at("backup-verify").addEventListener("click", () => Dash.withPin(() => {
      const table = Dash.state.snapshot.cards.backups.tables[0];
      if (!table) { say("backup-says", "There is no backup yet."); return; }
      told("backup-says", `${Dash.root}/api/backups/verify`, { name: table.rows[0].cells[0].raw }, (said) => said.says);
    }));
  }

  function wireLab() {
    const form = at("lab-form");
    if (!form) return;
    const today = new Date(Dash.now()), day = (ago) => new Date(today - ago * 86400000).toISOString().slice(0, 10);
    form.elements.from.value = day(31); form.elements.to.value = day(1);
    form.addEventListener("submit", (event) => event.preventDefault());
    at("lab-start").addEventListener("click", () => Dash.withPin(() => {
      const given = Object.fromEntries(["kind", "pair", "rules", "from", "to"].map((name) => [name, form.elements[name].value]));
      given.variants = Number(form.elements.variants.value); given.episodes = Number(form.elements.episodes.value);
      told("lab-says", `${Dash.root}/api/lab`, given, (said) => `Run ${said.id} was started.`);
    }));
    at("lab-stop").addEventListener("click", () => Dash.withPin(() => {
      const rows = Dash.state.snapshot.cards.lab.tables.flatMap((table) => table.rows);
      const running = rows.find((row) => row.cells[1].kind === "since" || row.cells[1].text.startsWith("RUNNING"));
      if (!running) { say("lab-says", "No run is under way."); return; }
      told("lab-says", `${Dash.root}/api/lab/stop`, { id: running.key.replace("run-", "") }, () => "The run was stopped.");
    }));
  }

  function wireSettings() {
    const select = at("settings-name");
    if (!select) return;
    const rows = Dash.state.snapshot.cards.settings.tables.flatMap((table) => table.rows);
    Dash.fill(select, rows.map((row) => plan("option", { value: row.cells[0].raw }, row.cells[0].raw)));
    const show = () => {
      const row = rows.find((each) => each.cells[0].raw === select.value);
      const secret = row.cells[1].kind === "word";
      at("settings-value").value = secret ? "" : row.cells[1].raw || "";
      at("settings-value").placeholder = row.cells[4].text;
    };
    select.addEventListener("change", show);
    show();
    at("settings-form").addEventListener("submit", (event) => event.preventDefault());
    at("settings-find").addEventListener("input", (event) => {
      const wanted = event.target.value.toUpperCase();
      for (const row of document.querySelectorAll("#card-settings tbody tr")) row.hidden = !row.textContent.toUpperCase().includes(wanted);
    });
    at("settings-check").addEventListener("click", () => Dash.withPin(check));
  }

  // First what would change, in words; only then is anything written.
  async function check() {
    const changes = { [at("settings-name").value]: at("settings-value").value };
    const { status, said } = await Dash.send(`${Dash.root}/api/settings/check`, { changes });
    const lines = (said.changes || []).map((each) => plan("p", {}, `${each.name}: ${each.old || "(default)"} → ${each.new || "(default)"}`));
    if (status !== 200) { Dash.fill(at("settings-says"), [...lines, plan("p", { class: "tone-bad" }, said.error || said.problems.join(" "))]); return; }
    Dash.fill(at("settings-says"), [...lines, plan("p", {}, "Checked as at a start. It takes effect with the next restart of the services."), plan("button", { type: "button", id: "settings-apply" }, "Write it into .env")]);
    at("settings-apply").addEventListener("click", () => told("settings-says", `${Dash.root}/api/settings/apply`, { changes }, (done) => `Written; the former file is ${done.backup}. Restart the services on the System page for it to take effect.`));
  }

  Dash.wireOperations = function () {
    if (document.body.dataset.locked === "yes") return;
    Dash.state.snapshot = Dash.state.snapshot || JSON.parse(at("snapshot").textContent);
    for (const wire of [wireNote, wireBackups, wireLab, wireSettings]) wire();
  };
})(window.Dash);
