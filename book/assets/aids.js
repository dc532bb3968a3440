// Reading aids that a style sheet cannot give: the card of a citation, and a book in the reader's own units.
(() => {
  "use strict";

  // A citation shows its full reference on hover and focus, out of the title that the page has. The card stays while the
  // pointer is on it; Escape and a tap elsewhere put it away. A finger's first tap shows it, the second follows the link.
  // Where the work stands in the margin, its note is marked instead.
  const STAYS_MS = 300; // time to come from the link to the card
  const card = Object.assign(document.createElement("div"), { id: "bb-card", className: "bb-card", hidden: true });
  card.setAttribute("role", "tooltip");
  let [of, leaving] = [null, 0];
  let note = null;
  const hide = () => {
    clearTimeout(leaving);
    note?.classList.remove("bb-meant");
    card.hidden = true;
    of = note = null;
  };
  const noteOf = (link) => {
    const found = link.closest("section")?.querySelector(`.bb-note[data-of="${link.hash.slice(1)}"]`);
    const box = found?.getBoundingClientRect();
    return box?.width && box.top >= 0 && box.bottom <= innerHeight ? found : null;
  };
  const leave = () => { clearTimeout(leaving); leaving = setTimeout(hide, STAYS_MS); };
  const stay = () => clearTimeout(leaving);
  const show = (link) => {
    hide();
    note = noteOf(link);
    note?.classList.add("bb-meant");
    of = link;
    card.textContent = link.dataset.reference; // read out in either case
    if (note) return;
    card.hidden = false;
    const [at, root] = [link.getBoundingClientRect(), document.documentElement];
    const left = Math.max(8, Math.min(at.left, root.clientWidth - card.offsetWidth - 8));
    const below = at.bottom + card.offsetHeight + 12 < root.clientHeight;
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${(below ? at.bottom + 6 : at.top - card.offsetHeight - 6) + scrollY}px`;
  };
  const citations = document.querySelectorAll(".bibtex-citation a[title]");
  if (citations.length) document.body.append(card);
  for (const link of citations) {
    let opens = false;
    link.dataset.reference = link.title;
    link.removeAttribute("title");
    link.setAttribute("aria-describedby", card.id);
    for (const event of ["mouseenter", "focus"]) link.addEventListener(event, () => show(link));
    link.addEventListener("mouseleave", leave);
    link.addEventListener("blur", leave);
    link.addEventListener("pointerdown", (event) => { opens = event.pointerType === "touch" && of !== link && !noteOf(link); });
    link.addEventListener("click", (event) => {
      if (!opens) return;
      event.preventDefault();
      show(link);
    });
  }
  card.addEventListener("mouseenter", stay);
  card.addEventListener("mouseleave", leave);
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("pointerdown", ({ target }) => { if (of && target !== card && !of.contains(target)) hide(); });

  // A book in the reader's own units: one number typed, the others of its kind follow.
  const box = document.querySelector(".bb-units");
  if (!box) return;
  const { assumed, kinds } = JSON.parse(box.querySelector(".bb-unit-definitions").textContent);
  const scale = ({ factor, by }) => Object.entries(by).reduce((all, [name, power]) => all * assumed[name] ** power, factor);
  const shown = (value) => {
    const [size, whole] = [Math.abs(value), Math.abs(value - Math.round(value)) < 1e-9];
    if (size < 1e15 && (size >= 1000 || (whole && size >= 1))) return String(Math.round(value));
    return size >= 1e-3 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
  };
  // What is asked for or typed must be above zero: one sentence says what is not, and what rests on it stays blank.
  const said = box.querySelector(".bb-units-said");
  const isGood = (input) => input.valueAsNumber > 0;
  const typed = new Map(); // of each table, the field that was typed into last
  const tell = () => {
    const inputs = [...box.querySelectorAll("[data-assumed]"), ...typed.values()];
    for (const input of box.querySelectorAll("input")) input.removeAttribute("aria-invalid");
    const bad = inputs.filter((input) => !isGood(input));
    for (const input of bad) input.setAttribute("aria-invalid", "true");
    const names = bad.map((input) => `“${input.dataset.assumed || input.getAttribute("aria-label")}”`).join(", ");
    said.textContent = bad.length ? `Not a number above zero: ${names}. What follows from it is left blank.` : "";
  };
  for (const table of box.querySelectorAll(".bb-unit")) {
    const units = kinds[table.dataset.kind];
    let last = table.querySelector("[data-unit]").dataset.unit;
    const fields = new Map();
    for (const cell of table.querySelectorAll("[data-unit]")) {
      const name = cell.dataset.unit;
      const input = Object.assign(document.createElement("input"), {
        type: "number", min: "0", step: "any", value: cell.textContent.replace(/,/g, ""),
      });
      input.setAttribute("aria-label", name);
      cell.replaceChildren(input);
      fields.set(name, input);
      input.addEventListener("input", () => {
        last = name;
        typed.set(table, input);
        follow();
        tell();
      });
    }
    const follow = () => {
      const [here, value] = [units[last], fields.get(last).valueAsNumber];
      for (const [name, input] of fields) {
        const there = units[name];
        const ratio = scale(here) / scale(there);
        const [up, down] = here.inverse ? [1 / ratio, ratio] : [ratio, 1 / ratio];
        const result = here.inverse === there.inverse ? value * up : down / value;
        if (name !== last) input.value = value > 0 && result > 0 && Number.isFinite(result) ? shown(result) : "";
      }
    };
    table.caption.textContent = table.caption.textContent.split(":")[0];
    box.addEventListener("bb-assumed", follow);
  }
  for (const input of box.querySelectorAll("[data-assumed]")) {
    input.disabled = false;
    input.addEventListener("input", () => {
      assumed[input.dataset.assumed] = isGood(input) ? input.valueAsNumber : NaN;
      box.dispatchEvent(new Event("bb-assumed"));
      tell();
    });
  }
})();
