// Which words are the same? What the search and the ledger take a text apart with.
window.bbWords = (() => {
  "use strict";

  // One form for grey and gray, -ise and -ize, -our and -or, singular and plural.
  const folded = (word) => {
    if (/^\d/.test(word)) return word;
    word = word
      .replace(/is(e|es|ed|er|ers|ing|ation|ations)$/, "iz$1")
      .replace(/ys(e|es|ed|er|ers|ing)$/, "yz$1")
      .replace(/^grey/, "gray")
      .replace(/^licence/, "license")
      .replace(/^defence/, "defense")
      .replace(/^catalogue/, "catalog")
      .replace(/^programme/, "program")
      .replace(/^artefact/, "artifact")
      .replace(/^centre/, "center")
      .replace(/^(label|model|travel|cancel|channel|signal)l(ed|ing|er)/, "$1$2");
    if (word.length > 5) word = word.replace(/our(s|ed|ing|al|able|ful)?$/, "or$1").replace(/iour/, "ior");
    if (word.length > 3) {
      word = word.replace(/ies$/, "y").replace(/(ch|sh|x|ss)es$/, "$1").replace(/([^siu])s$/, "$1");
    }
    return word;
  };

  // Words and numbers of a text: "PagedAttention" is paged, attention and both; "23.5x" is 23.5 times; "80GB" is 80
  // and GB as well; "1,155" is 1155. MoE stays one word.
  const INSIDE = /(?<=\p{Ll}{2})(?=\p{Lu}\p{Ll}{2})|_/u;
  const GLUED = /^(\d+(?:[.,]\d+)*)(\p{L}+)$/u;
  const words = (given) => {
    const text = given.replace(/(\d)\s?[x×](?!\s?\d|\p{L})/gu, "$1 times");
    const found = [];
    for (const [piece] of text.matchAll(/\d+(?:[.,]\d+)*\p{L}*|\p{L}[\p{L}\d_]*/gu)) {
      const plain = piece.replace(/(\d),(?=\d{3})/g, "$1").toLowerCase();
      found.push(folded(plain));
      const [, number, unit] = plain.match(GLUED) || [];
      if (number) found.push(number, ...(unit.length > 1 ? [unit] : []));
      const parts = piece.split(INSIDE).filter(Boolean);
      if (parts.length > 1) found.push(...parts.map((part) => folded(part.toLowerCase())));
    }
    return found;
  };

  return { folded, words, GLUED, INSIDE };
})();
