// The live calculator: fields to the worker and its answer onto the page, as text only. The state is in the address.
(() => {
  "use strict";

  const root = document.querySelector(".bb-calculator");
  if (!root) return;
  const one = (wanted) => root.querySelector(wanted);
  const [state, start, form, answer] = [".bb-state", ".bb-start", ".bb-form", ".bb-answer"].map(one);
  const [here, headline, refused, notes, drawings, sections, exports] =
    [".bb-state-here", ".bb-headline", ".bb-refused", ".bb-notes", ".bb-drawings", ".bb-sections", ".bb-exports"].map(one);
  const fields = [...form.elements].filter((each) => each.name && each.name !== "config");
  const defaults = Object.fromEntries(fields.map((each) => [each.name, each.value]));
  const DEBOUNCE_MS = 200;
  const FILL_PATIENCE_MS = Math.max(90000, window.bytebillPatienceMs ?? 0);
  const say = (text) => { state.textContent = here.textContent = text; };
  const labelOf = (field) => field.closest("label")?.querySelector("span").textContent ?? field.name;
  const make = (name, text = "", of = {}) => Object.assign(document.createElement(name), { textContent: text }, of);

  // The address: known fields alone, choices that there are, numbers within their bounds.
  const allowed = (field, text) => {
    if (field.tagName === "SELECT") return [...field.options].some((each) => each.value === text) ? text : null;
    if (text === "") return field.required ? null : "";
    const number = Number(text.slice(0, 40));
    if (!Number.isFinite(number)) return null;
    const within = Math.min(Math.max(number, Number(field.min)), Number(field.max));
    return String(field.step === "1" ? Math.round(within) : within);
  };
  let clamped = ""; // what an address asked for and cannot have
  const readAddress = (text) => {
    form.elements.config.value = ""; // an address names its model
    const given = new URLSearchParams(text);
    const told = [];
    for (const field of fields) {
      const asked = given.get(field.name);
      field.value = (asked === null ? null : allowed(field, asked)) ?? defaults[field.name];
      const same = asked === field.value || (asked && field.value && Number(asked) === Number(field.value));
      if (asked !== null && !same && field.type !== "hidden") told.push(`${labelOf(field)} clamped to ${field.selectedOptions?.[0].text ?? (field.value || field.placeholder)}`);
    }
    clamped = told.length ? `From the address: ${told.join("; ")}.` : "";
    if (clamped) writeAddress();
  };
  const writeAddress = () => {
    const changed = fields.filter((each) => each.value !== defaults[each.name]).map((each) => [each.name, each.value]);
    const bare = location.pathname + location.search;
    history.replaceState(null, "", changed.length ? `#${new URLSearchParams(changed)}` : bare);
  };
  const values = () => Object.fromEntries([...form.elements].filter((each) => each.name).map((each) => [each.name, each.value]));

  // Drawings, from numbers alone.
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (name, of, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(of)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const figure = (svg, caption) => {
    const frame = make("figure");
    frame.append(svg, make("figcaption", caption));
    return frame;
  };
  const slug = (text) => text.replace(/\W+/g, "-");

  const memoryBar = (memory) => {
    const parts = memory.parts.map((part) => ({ ...part, value: Math.max(0, part.value) }));
    const whole = Math.max(memory.bytes, parts.reduce((sum, part) => sum + part.value, 0));
    const svg = draw("svg", { viewBox: "0 0 400 56", role: "img", "aria-label": "Memory of one device, to scale" });
    let x = 0;
    parts.forEach((part, index) => {
      const width = (400 * part.value) / whole;
      svg.append(draw("rect", { x, y: 4, width, height: 30, class: `bb-part-${slug(part.name)}` }));
      if (width > 12) svg.append(draw("text", { x: x + width / 2, y: 50, "text-anchor": "middle" }, String(index + 1)));
      x += width;
    });
    const end = (400 * memory.bytes) / whole;
    svg.append(draw("path", { d: `M${Math.min(end, 399)} 0V38`, class: "bb-end" }));
    const found = figure(svg, memory.printed);
    const list = make("ol");
    for (const part of parts) list.append(make("li", `${part.name}: ${part.printed}`, { className: `bb-key-${slug(part.name)}` }));
    found.append(list);
    return found;
  };

  const roofline = (roof) => {
    const [left, right, top, bottom] = [44, 376, 22, 196];
    const xs = [0, 5]; // powers of ten on the axis
    const high = Math.ceil(Math.log10(roof.peak) + 0.15);
    const low = high - 4;
    const x = (value) => left + ((right - left) * (Math.min(Math.max(Math.log10(value), xs[0]), xs[1]) - xs[0])) / (xs[1] - xs[0]);
    const y = (value) => bottom - ((bottom - top) * (Math.min(Math.max(Math.log10(value), low), high) - low)) / (high - low);
    const svg = draw("svg", { viewBox: "0 0 400 232", role: "img", "aria-label": "Roofline of one device, both axes logarithmic" });
    for (let power = xs[0]; power <= xs[1]; power += 1) {
      svg.append(draw("path", { d: `M${x(10 ** power)} ${top}V${bottom}`, class: "bb-grid" }));
      svg.append(draw("text", { x: x(10 ** power), y: bottom + 14, "text-anchor": "middle" }, String(10 ** power)));
    }
    for (let power = low; power <= high; power += 1) {
      svg.append(draw("path", { d: `M${left} ${y(10 ** power)}H${right}`, class: "bb-grid" }));
      svg.append(draw("text", { x: left - 5, y: y(10 ** power) + 4, "text-anchor": "end" }, String(10 ** (power - 12))));
    }
    const begins = Math.max(1, 10 ** low / roof.bandwidth);
    svg.append(draw("path", { d: `M${x(begins)} ${y(begins * roof.bandwidth)}L${x(roof.ridge)} ${y(roof.peak)}`, class: "bb-roof-bytes" }));
    svg.append(draw("path", { d: `M${x(roof.ridge)} ${y(roof.peak)}H${right}`, class: "bb-roof-flops" }));
    for (const point of roof.points) {
      const at = { cx: x(point.x), cy: y(point.y) };
      svg.append(draw("circle", { ...at, r: 4.5, class: "bb-point" }));
      const flip = at.cx > 300;
      svg.append(draw("text", { x: at.cx + (flip ? -8 : 8), y: at.cy + 14, "text-anchor": flip ? "end" : "start" }, point.name.split(" ")[0]));
    }
    svg.append(draw("text", { x: (left + right) / 2, y: 228, "text-anchor": "middle" }, "arithmetic intensity [FLOP/byte]"));
    svg.append(draw("text", { x: 4, y: 10 }, "attained [TFLOP/s]"));
    const found = figure(svg, roof.printed);
    const list = make("ul");
    for (const point of roof.points) list.append(make("li", point.printed));
    found.append(list);
    return found;
  };

  // The answer as text.
  const sectionOf = ({ title, note, rows }) => {
    const part = make("section");
    const list = make("dl");
    for (const row of rows) {
      const pair = make("div");
      pair.append(make("dt", row.name), make("dd", row.printed));
      list.append(pair);
    }
    part.append(make("h3", title), list);
    if (note) part.append(make("p", note));
    return part;
  };
  const save = (name, text) => {
    const link = make("a", "", { download: name, href: URL.createObjectURL(new Blob([text], { type: "text/plain" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const exportsOf = (found) => {
    const kinds = [["statement.md", found.markdown, "The statement (Markdown)"], ["case.yaml", found.yaml, "The form (YAML)"]];
    const buttons = kinds.filter(([, text]) => text).map(([name, text, label]) => {
      const button = make("button", label, { type: "button" });
      button.addEventListener("click", () => save(name, text));
      return button;
    });
    const code = make("pre");
    code.append(make("code", found.python));
    code.tabIndex = 0;
    return found.python ? [...buttons, make("p", "The same in Python:"), code] : [];
  };
  // Limits that a search found no fleet to keep stay without a price, whatever rate, rent or fill comes next.
  const unkept = new Map();
  const withdrawn = (found) => (found.refused || !unkept.has(found.limits) ? found : {
    ...found, headline: "No price.", refused: unkept.get(found.limits), notes: [], roofline: null,
    python: "", yaml: "", markdown: "", sections: found.sections.filter((each) => each.id === "fits"),
  });
  let pending = false; // something was typed that the answer does not know yet
  let last = null;
  const show = (given) => {
    last = given;
    const found = withdrawn(given);
    answer.hidden = false;
    answer.classList.toggle("bb-stale", pending);
    headline.textContent = found.headline;
    notes.replaceChildren(...found.notes.map((text) => make("li", text)));
    refused.textContent = found.refused || "";
    drawings.replaceChildren(...(found.memory ? [memoryBar(found.memory)] : []), ...(found.roofline ? [roofline(found.roofline)] : []));
    sections.replaceChildren(...found.sections.map(sectionOf));
    exports.replaceChildren(...exportsOf(found));
  };

  // One question at a time; of those that come meanwhile, the last.
  let [wanted, busy, searching] = [0, false, null];
  const ask = async () => {
    wanted += 1;
    if (busy) return;
    busy = true;
    for (let done = 0; done !== wanted;) {
      await searching;
      done = wanted;
      try {
        const began = performance.now();
        show(await window.bytebillRuntime.ask("answer", { what: "quick", fields: values() }));
        root.dataset.answerMs = (performance.now() - began).toFixed(1);
        if (done === wanted) show(await window.bytebillRuntime.ask("answer", { what: "all", fields: values() }));
        if (!pending) say(clamped);
      } catch (error) {
        say(error.message);
      }
    }
    busy = false;
    root.dataset.answered = String(wanted);
  };
  const wrongIn = (field) => (field.validity.stepMismatch
    ? "is no whole number" : `is empty or out of its bounds, ${field.min} to ${field.max}`);
  let timer;
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      showLoad();
      clamped = "";
      const wrong = fields.find((each) => !each.checkValidity());
      if (!wrong) {
        pending = false;
        writeAddress();
        ask();
      } else say(`${labelOf(wrong)} ${wrongIn(wrong)}; the answer, greyed, is that of before.`);
    }, DEBOUNCE_MS);
    pending = true;
    answer.classList.add("bb-stale");
  };
  // The load is told in one of two fields; in the other nothing can be wrong, since nobody sees it.
  const showLoad = () => {
    for (const [name, when] of [["rps", "rate"], ["users", "users"]]) {
      const [label, field] = [form.querySelector(`[data-of="${name}"]`), form.elements[name]];
      label.hidden = form.elements.load.value !== when;
      if (label.hidden && !field.checkValidity()) field.value = defaults[name];
    }
  };

  const begin = async () => {
    start.disabled = true;
    say("Starting Python: 13 MB from this site, once.");
    try {
      const seconds = await window.bytebillRuntime.start();
      root.dataset.readySeconds = seconds.toFixed(2);
      [start.hidden, form.hidden] = [true, false];
      showLoad();
      fields[0].focus({ preventScroll: true });
      await ask();
    } catch (error) {
      say(error.message);
      start.disabled = false;
    }
  };
  const findFill = async ({ target }) => {
    target.disabled = true;
    say(`Simulating a replica, for up to ${FILL_PATIENCE_MS / 1000} s; what you change meanwhile waits.`);
    const asked = values();
    const search = window.bytebillRuntime.ask("answer", { what: "fill", fields: asked }, FILL_PATIENCE_MS);
    searching = search.catch(() => null);
    try {
      const found = await search;
      const same = JSON.stringify(asked) === JSON.stringify(values());
      say(found.refused ? "" : `99% of the answers keep the limits at a fill of ${found.fill}%.`);
      if (found.refused) unkept.set(found.limits, found.refused);
      if (found.refused && same) show(last);
      if (found.fill && same) {
        [form.elements.fill.value, form.elements.found.value] = [found.fill, found.found];
        changed();
      }
    } catch (error) {
      say(error.message);
    }
    searching = null;
    target.disabled = false;
    if (document.activeElement === document.body) target.focus({ preventScroll: true }); // a button that is off lets go
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", changed);
  one(".bb-find-fill").addEventListener("click", findFill);
  addEventListener("hashchange", () => {
    readAddress(location.hash.slice(1));
    clearTimeout(timer);
    if (!form.hidden) { showLoad(); pending = false; answer.classList.add("bb-stale"); ask(); }
  });
  start.addEventListener("click", begin);
  readAddress(location.hash.slice(1));
  if (root.dataset.runtime !== "yes") {
    state.textContent = "This copy of the book was rendered without Python for the page (make pyodide, then render again); the table below is there.";
    return;
  }
  say(`Runs the book's own Python in this page. Nothing that you type leaves it. ${clamped}`.trim());
  start.hidden = false;
  for (const each of document.querySelectorAll("[data-fields]")) {
    const button = make("button", "open", { type: "button", className: "bb-open" });
    button.setAttribute("aria-label", `Open in the calculator: ${each.textContent}`);
    button.addEventListener("click", async () => {
      readAddress(each.dataset.fields);
      writeAddress();
      clearTimeout(timer);
      [pending, clamped] = [false, ""];
      showLoad();
      root.scrollIntoView();
      await (form.hidden ? begin() : ask());
    });
    each.after(" ", button);
  }
})();
