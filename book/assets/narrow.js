// What is too wide for a screen is never scrolled, but for code: a table whose rows become entries, a formula set
// smaller, and a figure that fits the width and opens whole. Without a script tables scroll, and the figure's link opens
// its file.
(() => {
  "use strict";
  const LEAST = 0.6; // of a formula's letters
  const isWide = (box) => box.scrollWidth > box.clientWidth + 1;

  // The cells of a row say what heads their column, and in what unit.
  const name = (table) => {
    const heads = [...table.querySelectorAll("thead tr:last-child > *")].map((head) => {
      const unit = head.querySelector("small")?.textContent.trim() || "";
      const words = [...head.querySelectorAll("p"), head][0].textContent.trim();
      return [unit && words.endsWith(unit) ? words.slice(0, -unit.length).trim() : words, unit];
    });
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.children].slice(1).forEach((cell, at) => {
        const [words, unit] = heads[at + 1] || ["", ""];
        cell.dataset.head = words;
        if (/\d/.test(cell.textContent) && unit) cell.dataset.unit = /^[%×x]$/.test(unit) ? unit : `\u00a0${unit}`;
      });
    }
  };
  const fitTable = (box) => {
    const table = box.querySelector("table");
    table.classList.remove("bb-entries");
    if (!isWide(box)) return;
    if (!table.querySelector("[data-head]")) name(table);
    table.classList.add("bb-entries");
  };
  const fitFormula = (box) => {
    box.style.fontSize = "";
    for (let size = 0.95; isWide(box) && size >= LEAST; size -= 0.05) box.style.fontSize = `${size}em`;
  };
  const widths = new WeakMap();
  const seen = new ResizeObserver((changed) => {
    for (const { target, contentRect } of changed) {
      if (widths.get(target) === contentRect.width) continue;
      widths.set(target, contentRect.width);
      (target.matches(".math") ? fitFormula : fitTable)(target);
    }
  });
  const boxes = [...document.querySelectorAll(".bd-article :is(.bb-scroll, .pst-scrollable-table-container)")];
  for (const box of boxes.filter((each) => each.querySelector("thead"))) seen.observe(box);
  for (const box of document.querySelectorAll(".bd-article div.math")) seen.observe(box);

  // A figure as large as its letters ask; Escape, the button and a tap beside it close it, and the focus goes back.
  const links = document.querySelectorAll(".bb-open-figure");
  if (!links.length || !window.HTMLDialogElement) return;
  const dialog = Object.assign(document.createElement("dialog"), { className: "bb-dialog" });
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
  const frame = Object.assign(document.createElement("div"), { className: "bb-dialog-frame", tabIndex: 0 });
  frame.setAttribute("role", "group");
  dialog.append(close, frame);
  document.body.append(dialog);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
  const open = (figure) => {
    const drawn = [...figure.querySelectorAll("img")].map((image) => image.cloneNode());
    const caption = figure.querySelector(".caption-number")?.textContent.trim() || "The figure";
    for (const part of [dialog, frame]) part.setAttribute("aria-label", `${caption}, whole`);
    frame.replaceChildren(...drawn);
    dialog.showModal();
    frame.scrollTo(0, 0);
  };
  for (const link of links) {
    const figure = link.closest("figure");
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(figure);
    });
    for (const image of figure.querySelectorAll("img")) {
      image.addEventListener("click", () => { if (link.checkVisibility()) open(figure); });
    }
  }
})();
