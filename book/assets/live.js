// Cells of a chapter that can be edited and run in the page, by the calculator's Python.
(() => {
  "use strict";

  const stored = document.querySelector(".bb-live-codes");
  if (!stored) return;
  const codes = JSON.parse(stored.textContent);
  const make = (name, text = "", of = {}) => Object.assign(document.createElement(name), { textContent: text }, of);

  const OFFER = "Python runs in this page: 13 MB from this site, once.";

  // What a stage is called, and the seconds it has taken, which are for the eye alone: a screen reader hears the stage.
  const clock = (state, seconds) => {
    let began, timer;
    const tell = () => { seconds.textContent = ` ${Math.round((performance.now() - began) / 1000)} s`; };
    const stop = (text) => {
      clearInterval(timer);
      seconds.textContent = "";
      state.textContent = text;
    };
    const stage = (text) => {
      stop(text);
      began = performance.now();
      tell();
      timer = setInterval(tell, 500);
    };
    return { stage, stop };
  };

  // What went wrong is told by the line of the box, not by that of all the code that ran.
  const inTheBox = (wrong, nBefore) => (wrong || "").replace(/^line (\d+)/, (all, line) =>
    line > nBefore ? `line ${line - nBefore}` : `in what it needs first, line ${line}`);

  const needed = (before) => {
    const fold = make("details", "", { className: "bb-live-before" });
    const listing = make("pre", before, { tabIndex: 0 });
    listing.setAttribute("aria-label", "What the cell needs first");
    fold.append(make("summary", "What it needs first (runs before it)"), listing);
    return fold;
  };

  const editor = ({ before, code }, number) => {
    const box = make("div", "", { className: "bb-live", id: `bb-live-${number}` });
    const area = make("textarea", "", { value: code, spellcheck: false, rows: code.split("\n").length + 1 });
    area.setAttribute("aria-label", "Code of the cell");
    const run = make("button", "Run", { type: "button" });
    const back = make("button", "As it was", { type: "button" });
    const state = make("span", OFFER);
    state.setAttribute("role", "status");
    const seconds = make("span");
    seconds.setAttribute("aria-hidden", "true");
    const printed = make("pre", "", { className: "bb-live-printed", hidden: true, tabIndex: 0 });
    printed.setAttribute("aria-label", "What it prints");
    const { stage, stop } = clock(state, seconds);
    const prefix = before ? `${before}\n\n` : "";
    const act = async () => {
      run.disabled = true;
      try {
        stage("Loading Python.");
        await window.bytebillRuntime.start();
        stage("Running.");
        const began = performance.now();
        const found = await window.bytebillRuntime.ask("snippet", prefix + area.value);
        printed.textContent = found.printed;
        printed.hidden = !found.printed;
        const took = `Ran in ${((performance.now() - began) / 1000).toFixed(1)} s`;
        stop(inTheBox(found.wrong, prefix.split("\n").length - 1) || (found.printed ? `${took}.` : `${took} and printed nothing.`));
      } catch (error) {
        [printed.textContent, printed.hidden] = ["", true];
        stop(error.message);
      }
      run.disabled = false;
      box.dataset.ran = String(Number(box.dataset.ran || 0) + 1);
    };
    run.addEventListener("click", act);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) act();
    });
    back.addEventListener("click", () => { area.value = code; });
    const [buttons, line] = [make("p"), make("p", "", { className: "bb-live-state" })];
    buttons.append(run, " ", back);
    line.append(state, seconds);
    box.append(...(before ? [needed(before)] : []), area, buttons, line, printed);
    return box;
  };

  document.querySelectorAll(".cell.tag_live").forEach((cell, index) => {
    const open = make("button", "Edit and run", { type: "button", className: "bb-live-open" });
    open.setAttribute("aria-expanded", "false");
    const input = cell.querySelector(".cell_input");
    let box = null;
    open.addEventListener("click", () => {
      if (!box) {
        box = editor(codes[index], index);
        (input || open).after(box);
      } else box.hidden = !box.hidden;
      open.setAttribute("aria-expanded", String(!box.hidden));
      if (!box.hidden) box.querySelector("textarea").focus();
    });
    if (input) input.prepend(open);
    else cell.after(open);
  });
})();
