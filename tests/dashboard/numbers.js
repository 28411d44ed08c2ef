// Every text on the page that holds a figure: where it stands, what it says, and the instant behind it.
() => {
  const found = [];
  const label = (each) => (each ? each.textContent.trim() : "");
  const place = (node) => {
    const up = (selector) => node.parentElement.closest(selector);
    const tile = up(".tile");
    if (tile) return `tile ${tile.dataset.of} ${tile.dataset.index} ${[...tile.children].find((each) => each.contains(node)).className}`;
    const card = up(".card");
    if (!card) return `frame ${(up("[id]") || { id: "" }).id}`;
    const name = card.id.replace("card-", ""), row = up("tr[data-key]"), fact = up(".facts > div");
    const at = row ? `${name} row ${row.dataset.key} ` : `${name} `;
    const plot = up("[data-key^='plot ']");
    if (plot) {
      const marks = [...plot.querySelectorAll("text")], at = marks.indexOf(node.parentElement);
      const names = plot.querySelector(".bar") ? ["left", "right"] : ["top", "bottom", "left", "right"];
      return `${name} ${plot.dataset.key} ${at < 0 ? node.parentElement.localName : names[at]}`;
    }
    if (fact) return `${at}${up("dt") ? "label" : "fact"} ${label(fact.querySelector("dt"))}`;
    if (row) return `${at}cell ${up("[data-label]").dataset.label}`;
    if (up(".legend")) return `${name} legend ${up("li").dataset.line}${up("b") ? "" : " label"}`;
    for (const [selector, kind] of [[".stamp", "stamp"], ["caption", "caption"], ["th", "heading"], [".notes", "note"], [".reason", "reason"], ["summary", "summary"], ["h2", "title"]]) {
      if (up(selector)) return `${at}${kind}`;
    }
    return `${at}at ${(up("[id]") || { id: "" }).id} ${up("button, label, p, td") ? up("button, label, p, td").localName : ""}`;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!/\d/.test(node.data) || node.parentElement.closest("#snapshot, script, style, noscript, option, [hidden]")) continue;
    const unit = node.parentElement.closest(".cell, time, .legend b") || node.parentElement;
    found.push({ place: place(node), text: unit.textContent.trim(), raw: unit.dateTime || unit.dataset.raw || "" });
  }
  return found;
}
