// What a style sheet cannot do: paper is light and shows what was folded, a keyboard scrolls what is too wide, and the
// ledger is filtered, sorted and searched.
(() => {
  "use strict";

  const root = document.documentElement;
  const opened = [];
  let theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    for (const folded of document.querySelectorAll("details:not([open], .bb-all)")) {
      folded.open = true;
      opened.push(folded);
    }
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    for (const folded of opened.splice(0)) folded.open = false;
  });

  // What is too wide can be scrolled by the keyboard. A box changes its size when the window does or when it unfolds.
  const scrollers =
    ".bb-verdict, .cell_output .text_html, .bd-article pre, .pst-scrollable-table-container, .bb-wide, div.math";
  const mark = (box) => {
    const scrolls = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  const sizes = new ResizeObserver((changed) => changed.forEach(({ target }) => mark(target)));
  addEventListener("load", () => document.querySelectorAll(scrollers).forEach((box) => sizes.observe(box)));

  const ledger = document.querySelector(".bb-ledger");
  if (!ledger) return;
  const all = (wanted) => [...ledger.querySelectorAll(wanted)];
  const one = (wanted) => ledger.querySelector(wanted);
  const [sort, find, shown, reset, rows] = [".bb-sort", ".bb-find", ".bb-shown", ".bb-reset", ".bb-rows"].map(one);
  const [lines, buttons, untried] = [all("li[data-word]"), all(".bb-words button"), one(".bb-untried")];
  const said = new Map();
  let word = "";
  let sorted = sort.value;

  // A word may go on, a number is meant whole, and 23x is 23×.
  const { words } = window.bbWords;
  const asked = (query) =>
    words(query.replace(/(\d)\s*[x×](?![\p{L}\d])/gu, "$1 ").replace(/(\p{Ll})(\p{Lu})/gu, "$1 $2"));
  const meets = (line, term) => {
    if (!said.has(line)) said.set(line, [...new Set(words(line.textContent))]);
    return said.get(line).some((known) => (/^\d/.test(term) ? known === term : known.startsWith(term)));
  };

  const show = () => {
    const terms = asked(find.value);
    for (const line of lines) {
      line.hidden = (word && line.dataset.word !== word) || !terms.every((term) => meets(line, term));
    }
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.word === word));
    const left = lines.filter((line) => !line.hidden);
    shown.textContent = `${left.length} of ${lines.length} shown`;
    reset.hidden = !word && !find.value;
    if (untried) {
      untried.hidden = ![...untried.querySelectorAll("li")].some((line) => !line.hidden);
      if (!reset.hidden) untried.open = true;
    }
  };
  const order = () => {
    if (sorted === sort.value) return;
    sorted = sort.value;
    const key = (row) => Number(row.dataset[sorted]);
    rows?.append(...[...rows.children].sort((a, b) => key(a) - key(b)));
  };

  // The address holds what is chosen, as in #word=wrong, or names a row, as in #C13.
  const write = () => {
    const chosen = new URLSearchParams();
    if (word) chosen.set("word", word);
    if (find.value.trim()) chosen.set("find", find.value);
    if (sort.selectedIndex) chosen.set("sort", sort.value);
    history.replaceState(null, "", `${chosen}` ? `#${chosen}` : location.pathname + location.search);
  };
  const read = () => {
    const chosen = new URLSearchParams(location.hash.slice(1));
    word = buttons.find((button) => !button.disabled && button.dataset.word === chosen.get("word"))?.dataset.word || "";
    find.value = chosen.get("find") || "";
    sort.value = chosen.get("sort");
    if (sort.selectedIndex < 0) sort.selectedIndex = 0;
    order();
    show();
  };
  const change = () => {
    order();
    show();
    write();
  };
  const showAll = () => {
    word = find.value = "";
    show();
  };
  const jump = () => {
    const row = lines.find((line) => `#${line.id}` === location.hash);
    if (!row) return;
    if (row.hidden) showAll();
    for (const folded of [row.closest("details"), row.querySelector("details")]) if (folded) folded.open = true;
    row.scrollIntoView();
  };

  for (const button of buttons) {
    button.disabled = button.querySelector("b").textContent === "0";
    button.addEventListener("click", () => {
      word = word === button.dataset.word ? "" : button.dataset.word;
      change();
    });
  }
  sort.addEventListener("change", change);
  find.addEventListener("input", change);
  reset.addEventListener("click", () => {
    showAll();
    write();
  });
  addEventListener("hashchange", () => {
    if (!location.hash || location.hash.includes("=")) read();
    else jump();
  });
  // A browser that comes back fills in the fields by itself.
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) read();
  });
  one(".bb-tools").hidden = false;
  read();
  jump();
})();
