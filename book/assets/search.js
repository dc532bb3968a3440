// Which entry is meant? Ranks the sections of the book for the words of a query: rare words count more, long texts less
// (BM25), titles more than text, the page around a section a little. Both spellings of a word are one, a number is found
// as it is printed, and C13 is the claim of that name. `words.js` folds words, `search_entries.js` holds the entries.
(() => {
  "use strict";
  if (typeof Search === "undefined" || !window.bbEntries || !window.bbWords) return;

  const STOP = new Set("a an and are as at be but by for if in into is it no not of on or so that the then to was what with".split(" "));
  const KINDS = { ledger: 1.35, verdict: 1.1, term: 1.15, page: 1.2, section: 1, table: 0.55 };
  const LISTS = /^book\/(references|what_changed)\./; // every word stands in them
  const N_SHOWN = 30;
  const [K, B] = [1.2, 0.6];

  const { folded, words, GLUED, INSIDE } = window.bbWords;

  // What the book says in other words, in the form of `folded`.
  const ALIKE = { moe: "mixture of expert", mine: "own calculator", calculate: "calculator", teach: "teaching" };
  const NAMED = { "paged attention": "paging the kv cache" }; // and one topic under another name than its page's
  const counted = (text) => {
    const counts = new Map();
    for (const word of words(text)) counts.set(word, (counts.get(word) || 0) + 1);
    return counts;
  };
  const total = (counts) => [...counts.values()].reduce((sum, count) => sum + count, 0);

  const all = window.bbEntries.map((entry) => {
    const text = counted(entry.text);
    const name = words(entry.title.replace(/^\d+\. /, "")).join(" ");
    return { ...entry, name, counts: text, said: ` ${words(`${entry.title} ${entry.text}`).join(" ")} `, heading: new Set(words(entry.title)), length: total(text) + 20 };
  });
  const pages = new Map();
  for (const entry of all) {
    const page = pages.get(entry.page) || { counts: new Map(), length: 0, heading: new Set(words(entry.page)) };
    for (const [word, count] of entry.counts) page.counts.set(word, (page.counts.get(word) || 0) + count);
    for (const word of entry.heading) page.counts.set(word, (page.counts.get(word) || 0) + 2);
    page.length += entry.length;
    pages.set(entry.page, page);
  }
  const held = new Map(); // in how many entries a word stands
  for (const entry of all) {
    for (const word of new Set([...entry.counts.keys(), ...entry.heading])) held.set(word, (held.get(word) || 0) + 1);
  }
  const vocabulary = [...held.keys()];
  const mean = (things) => things.reduce((sum, { length }) => sum + length, 0) / Math.max(1, things.length);
  const [usual, usualPage] = [mean(all), mean([...pages.values()])];

  // Two words written as one, where the book has both and hardly the one; a number and its unit likewise.
  const apart = (word) => {
    const [, ...glued] = word.match(GLUED) || [];
    if (glued.length) return (held.get(word) || 0) > 2 ? [word] : glued;
    for (let at = 4; at <= word.length - 4 && (held.get(word) || 0) < 8; at++) {
      const both = [folded(word.slice(0, at)), word.slice(at)];
      if (both.every((part) => (held.get(part) || 0) > 2)) return both;
    }
    return [word];
  };

  // What a word of the query may be in the book: itself, the same in other words, or a word that begins so.
  const meant = (word) => {
    const said = [word, ...(ALIKE[word] || "").split(" ")].filter((known) => held.has(known) && !STOP.has(known));
    if (said.length) return said.map((known) => [known, 1]);
    if (/^\d/.test(word) || word.length < 3) return [];
    return vocabulary.filter((known) => known.startsWith(word)).map((known) => [known, 0.5]);
  };

  const weight = (counts, length, usually, word) => {
    const count = counts.get(word) || 0;
    const rarity = Math.log(1 + (all.length - held.get(word) + 0.5) / (held.get(word) + 0.5));
    return (rarity * count * (K + 1)) / (count + K * (1 - B + (B * length) / usually));
  };

  const score = (entry, terms, [asked, inOtherWords]) => {
    const page = pages.get(entry.page);
    let [sum, met] = [0, 0];
    for (const choices of terms) {
      let best = 0;
      for (const [word, share] of choices) {
        const rarity = Math.log(1 + all.length / held.get(word));
        const inTitle = entry.heading.has(word) ? 1.5 * rarity : 0;
        const own = weight(entry.counts, entry.length, usual, word) + inTitle;
        if (own > 0) best = Math.max(best, share * (own + 0.4 * weight(page.counts, page.length, usualPage, word)));
        if (own > 0 && page.heading.has(word)) best += 0.5 * share * rarity;
      }
      sum += best;
      met += best > 0 ? 1 : 0;
    }
    if (entry.name === asked || entry.name === inOtherWords) [sum, met] = [sum + 20, terms.length];
    if (asked.includes(" ") && entry.said.includes(` ${asked} `)) sum *= 1.4;
    return { met, sum: sum * KINDS[entry.kind] * (LISTS.test(entry.address) ? 0.4 : 1) * (met / terms.length) ** 2 };
  };

  // Claims first, where the query names one: the ledger's row, the verdict in its chapter, what else speaks of it.
  const named = (entry, id) => {
    if (entry.kind === "ledger" && entry.title.startsWith(id)) return 300;
    if (entry.kind === "verdict" && entry.title.startsWith(id)) return 200;
    return 0;
  };

  const claimsOf = (query) => {
    const isNamed = /^(claims?\s+c?|c)[\s-]?\d{1,2}((\s*,\s*|\s+and\s+|\s+)c?[\s-]?\d{1,2})*$/i.test(query.trim());
    return isNamed ? query.match(/\d+/g).map((number) => `C${number.padStart(2, "0")}`) : [];
  };

  const found = (query) => {
    const claims = claimsOf(query);
    let wanted = [...new Set(words(claims.join(" ") || query.split(INSIDE).join(" ")).flatMap(apart))];
    const asked = [wanted.join(" "), wanted.map((word) => ALIKE[word] || word).join(" ")];
    const topic = Object.keys(NAMED).find((name) => asked[0].endsWith(name)); // behind itself written as one word
    asked[1] = NAMED[topic] || asked[1];
    const file = query.trim().match(/^(?:data\/)?(\w+)(?:\.csv)?$/);
    const card = file && /[_/.]/.test(query) ? `#table-${file[1].replace(/_/g, "-")}` : null;
    if (wanted.some((word) => !STOP.has(word))) wanted = wanted.filter((word) => !STOP.has(word));
    const terms = wanted.map(meant).filter((choices) => choices.length);
    const missing = wanted.length - terms.length;
    const hits = all.map((entry) => ({ entry, ...score(entry, terms, asked) }));
    for (const hit of hits) {
      hit.sum += Math.max(0, ...claims.map((claim) => named(hit.entry, claim)));
      hit.sum += card && hit.entry.address.endsWith(card) ? 100 : 0;
    }
    const best = claims.length ? 1 : Math.max(0, ...hits.map((hit) => hit.met));
    const kept = hits.filter((hit) => hit.met > 0 && hit.met >= best - (best > 3 ? 1 : 0));
    kept.sort((a, b) => b.sum - a.sum);
    return { kept, terms: terms.flat().map(([word]) => word), partly: missing > 0 || (best < terms.length && !claims.length) };
  };

  // A piece of the entry's text around the first word that was asked for, with those words marked.
  const excerpt = (entry, terms) => {
    const pieces = [...entry.text.matchAll(/\d+(?:[.,]\d+)*\p{L}*|\p{L}[\p{L}\d_]*/gu)];
    const hit = pieces.filter((piece) => words(piece[0]).some((word) => terms.includes(word)));
    const from = Math.max(0, (hit.length ? hit[0].index : 0) - 90);
    const start = from && entry.text.indexOf(" ", from) + 1;
    const end = Math.min(entry.text.length, start + 260);
    const line = document.createElement("p");
    line.className = "bb-excerpt";
    let at = start;
    if (start) line.append("… ");
    for (const piece of hit.filter((each) => each.index >= start && each.index + each[0].length <= end)) {
      line.append(entry.text.slice(at, piece.index), Object.assign(document.createElement("mark"), { textContent: piece[0] }));
      at = piece.index + piece[0].length;
    }
    line.append(entry.text.slice(at, end), end < entry.text.length ? " …" : "");
    return line;
  };

  const NAMES = { ledger: "the ledger", verdict: "verdict", term: "glossary", table: "data", page: "", section: "" };
  const item = ({ entry, sum }, terms) => {
    const line = document.createElement("li");
    const link = Object.assign(document.createElement("a"), { href: entry.address, textContent: entry.title });
    link.dataset.score = sum.toFixed(2);
    line.append(link);
    const where = [NAMES[entry.kind], entry.title === entry.page ? "" : entry.page].filter(Boolean).join(", ");
    if (where) line.append(Object.assign(document.createElement("span"), { className: "bb-where", textContent: where }));
    if (entry.text) line.append(excerpt(entry, terms));
    return line;
  };

  Search.setIndex = () => {};
  Search.performSearch = (query) => {
    const out = document.getElementById("search-results");
    const { kept, terms, partly } = found(query);
    const said = document.createElement("p");
    said.className = "search-summary";
    said.setAttribute("role", "status");
    said.textContent = !kept.length
      ? `Nothing in the book has “${query}”. Try one word of it, or a number as it is printed.`
      : `${kept.length} ${kept.length === 1 ? "place" : "places"}${kept.length > N_SHOWN ? `, the best ${N_SHOWN} below` : ""}` +
        (partly ? "; none has all of the words." : ".");
    const list = document.createElement("ol");
    list.className = "bb-found";
    list.append(...kept.slice(0, N_SHOWN).map((hit) => item(hit, terms)));
    out.replaceChildren(said, list);
  };
})();
