// Reading aids that a style sheet cannot give: the card of a citation, and a book in the reader's own units.
(() => {
  "use strict";

  // A citation shows its full reference on hover and focus, out of the title that the page has; Escape puts it away.
  const card = Object.assign(document.createElement("div"), { id: "bb-card", className: "bb-card", hidden: true });
  card.setAttribute("role", "tooltip");
  const hide = () => { card.hidden = true; };
  const show = (link) => {
    card.textContent = link.dataset.reference;
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
    link.dataset.reference = link.title;
    link.removeAttribute("title");
    link.setAttribute("aria-describedby", card.id);
    for (const event of ["mouseenter", "focus"]) link.addEventListener(event, () => show(link));
    for (const event of ["mouseleave", "blur"]) link.addEventListener(event, hide);
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // A book in the reader's own units: one number typed, the others of its kind follow.
  const box = document.querySelector(".bb-units");
  if (!box) return;
  const { assumed, kinds } = JSON.parse(box.querySelector(".bb-unit-definitions").textContent);
  const scale = ({ factor, by }) => Object.entries(by).reduce((all, [name, power]) => all * assumed[name] ** power, factor);
  const shown = (value) => {
    const [size, whole] = [Math.abs(value), Math.abs(value - Math.round(value)) < 1e-9];
    if (size >= 1000 || (whole && size >= 1)) return String(Math.round(value));
    return size >= 1e-3 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
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
      input.addEventListener("input", () => { last = name; follow(); });
    }
    const follow = () => {
      const [here, value] = [units[last], fields.get(last).valueAsNumber];
      const base = here.inverse ? scale(here) / value : scale(here) * value;
      for (const [name, input] of fields) {
        const there = units[name];
        const result = there.inverse ? scale(there) / base : base / scale(there);
        if (name !== last) input.value = value > 0 && Number.isFinite(result) ? shown(result) : "";
      }
    };
    table.caption.textContent = table.caption.textContent.split(":")[0];
    box.addEventListener("bb-assumed", follow);
  }
  for (const input of box.querySelectorAll("[data-assumed]")) {
    input.disabled = false;
    input.addEventListener("input", () => {
      if (!(input.valueAsNumber > 0)) return;
      assumed[input.dataset.assumed] = input.valueAsNumber;
      box.dispatchEvent(new Event("bb-assumed"));
    });
  }
})();
