// The seven states of a card by the page's own clock: the same rules as src/dashboard/states.py.
"use strict";
window.Dash = window.Dash || {};
(function (Dash) {
  Dash.root = (document.body && document.body.dataset.root) || "";  // the sub-path behind which a proxy serves us
  const LATE_FACTOR = 3;
  const ENDED = ["stopped", "stopping"];

  // Whether a process was heard of once and is silent or stopped now.
  Dash.isDown = function (source, nowMs) {
    if (!source || source.beat_ms === null) return false;
    return ENDED.includes(source.phase) || nowMs - source.beat_ms > source.down_after_s * 1000;
  };

  Dash.stateOf = function (card, sourceIsDown, nowMs) {
    if (card.base === "error") return "error";
    if (card.base === "unknown" || card.as_of_ms === null) return "unknown";
    if (sourceIsDown) return "down";
    const age = (nowMs - card.as_of_ms) / 1000;
    if (age > LATE_FACTOR * card.max_age_s) return "stale";
    if (age > card.max_age_s) return "late";
    return card.base === "empty" ? "empty" : "fresh";
  };

  Dash.ageWords = function (seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const of = Math.floor;
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${of(whole / 60)} min ${whole % 60} s`;
    if (whole < 86400) return `${of(whole / 3600)} h ${of((whole % 3600) / 60)} min`;
    return `${of(whole / 86400)} d ${of((whole % 86400) / 3600)} h`;
  };
})(window.Dash);
