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
    ".bb-verdict, .cell_output .text_html, .bd-article pre, .cell_output figure, .pst-scrollable-table-container, " +
    ".bb-wide, div.math";
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
  let word = "";

  const show = () => {
    const terms = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const line of lines) {
      const text = line.textContent.toLowerCase();
      line.hidden = (word && line.dataset.word !== word) || !terms.every((term) => text.includes(term));
    }
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.word === word));
    const left = lines.filter((line) => !line.hidden);
    shown.textContent = `${left.length} of ${lines.length} shown`;
    reset.hidden = !word && !terms.length;
    if (untried) {
      untried.hidden = ![...untried.querySelectorAll("li")].some((line) => !line.hidden);
      if (!reset.hidden) untried.open = true;
    }
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
      show();
    });
  }
  sort.addEventListener("change", () => {
    const key = (row) => Number(row.dataset[sort.value]);
    rows?.append(...[...rows.children].sort((a, b) => key(a) - key(b)));
  });
  find.addEventListener("input", show);
  reset.addEventListener("click", showAll);
  addEventListener("hashchange", jump);
  one(".bb-tools").hidden = false;
  jump();
})();
