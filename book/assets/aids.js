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
})();
