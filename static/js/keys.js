// Keyboard shortcuts: g and a letter leads to a page, ? shows them all; they can be switched off in Display.
"use strict";
(function (Dash) {
  const at = (id) => document.getElementById(id);
  const PAGES = { o: ["overview", "/"], t: ["trade", "/trade"], j: ["journal", "/journal"], p: ["performance", "/performance"], s: ["strategies", "/strategies"], v: ["review", "/review"], l: ["lab", "/lab"], y: ["system", "/system"], e: ["settings", "/settings"] };
  const KEYS = [["?", "show this help"], ["g then o t j p s v l y e", "go to Overview, Trade, Journal, Performance, Strategies, Review, Lab, System, Settings"], ["r", "refresh now"], ["f", "freeze or resume the page"], ["h", "hide or show amounts"], ["x", "pause or resume entries (asks first)"], ["Escape", "close a dialog"]];
  let waits = false;

  function pressed(event) {
    if (Dash.choice("keys") !== "yes" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog[open]")) return;
    if (waits) {
      waits = false;
      const page = PAGES[event.key];
      if (page) { event.preventDefault(); location.assign(Dash.linked(page[1])); }
      return;
    }
    const does = { "?": showHelp, g: () => { waits = true; setTimeout(() => { waits = false; }, 1500); }, r: () => at("refresh").click(), f: () => at("pause").click(), h: () => at("hide").click(), x: () => at("entries").click() }[event.key];
    if (does) { event.preventDefault(); does(); }
  }

  function showHelp() {
    Dash.fill(at("help-keys"), KEYS.map(([keys, words]) => Dash.plan("div", {}, Dash.plan("dt", {}, keys), Dash.plan("dd", {}, words))));
    at("help").showModal();
  }

  Dash.wireKeys = () => document.addEventListener("keydown", pressed);
})(window.Dash);
