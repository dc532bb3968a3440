// Cells of a chapter that can be edited and run in the page, by the calculator's Python.
(() => {
  "use strict";

  const stored = document.querySelector(".bb-live-codes");
  if (!stored) return;
  const codes = JSON.parse(stored.textContent);
  const make = (name, text = "", of = {}) => Object.assign(document.createElement(name), { textContent: text }, of);

  const editor = (cell, code, number) => {
    const box = make("div", "", { className: "bb-live" });
    const area = make("textarea", "", { value: code, spellcheck: false, rows: code.split("\n").length + 1 });
    area.setAttribute("aria-label", "Code of the cell above, with all that it needs");
    const run = make("button", "Run", { type: "button" });
    const back = make("button", "As it was", { type: "button" });
    const state = make("p", "Python runs in this page: 13 MB from this site, once. What the cell needs of the chapter stands above it.", { className: "bb-live-state" });
    state.setAttribute("role", "status");
    const printed = make("pre", "", { className: "bb-live-printed", hidden: true, tabIndex: 0 });
    printed.setAttribute("aria-label", "What it prints");
    const act = async () => {
      run.disabled = true;
      state.textContent = "Running.";
      try {
        const found = await window.bytebillRuntime.ask("snippet", area.value);
        printed.textContent = found.printed;
        printed.hidden = !found.printed;
        state.textContent = found.wrong || (found.printed ? "" : "It ran and printed nothing.");
      } catch (error) {
        [printed.textContent, printed.hidden] = ["", true];
        state.textContent = error.message;
      }
      run.disabled = false;
      box.dataset.ran = String(Number(box.dataset.ran || 0) + 1);
    };
    run.addEventListener("click", act);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) act();
    });
    back.addEventListener("click", () => { area.value = code; });
    const buttons = make("p");
    buttons.append(run, " ", back);
    box.append(area, buttons, state, printed);
    box.id = `bb-live-${number}`;
    return box;
  };

  document.querySelectorAll(".cell.tag_live").forEach((cell, index) => {
    const open = make("button", "Edit and run", { type: "button", className: "bb-live-open" });
    open.setAttribute("aria-expanded", "false");
    let box = null;
    open.addEventListener("click", () => {
      if (!box) {
        box = editor(cell, codes[index], index);
        open.after(box);
      } else box.hidden = !box.hidden;
      open.setAttribute("aria-expanded", String(!box.hidden));
      if (!box.hidden) box.querySelector("textarea").focus();
    });
    cell.after(open);
  });
})();
