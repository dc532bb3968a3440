// What a style sheet cannot do: paper is light and shows what was folded, and a keyboard scrolls what is too wide.
(() => {
  "use strict";

  const root = document.documentElement;
  const opened = [];
  let theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    for (const folded of document.querySelectorAll("details:not([open])")) {
      folded.open = true;
      opened.push(folded);
    }
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    for (const folded of opened.splice(0)) folded.open = false;
  });

  const scrollers = ".bb-verdict, .cell_output .text_html, .cell_output pre, .pst-scrollable-table-container, div.math";
  const markScrollers = () => {
    for (const box of document.querySelectorAll(scrollers)) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("load", markScrollers);
  addEventListener("resize", markScrollers);
})();
