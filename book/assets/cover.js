// The cover's slider shows one of the rows that the package wrote into the page; nothing is computed here.
(() => {
  "use strict";

  const slider = document.getElementById("bb-users");
  if (!slider) return;
  const rows = JSON.parse(document.getElementById("bb-bill").textContent);
  const places = [...document.querySelectorAll("[data-bill]")];
  const show = () => {
    const row = rows[Number(slider.value)];
    slider.setAttribute("aria-valuetext", row.users);
    for (const place of places) {
      const said = row[place.dataset.bill];
      if (place.textContent !== said) place.textContent = said;
    }
  };
  slider.addEventListener("input", show);
  addEventListener("pageshow", show); // a browser that comes back sets the handle by itself
  slider.closest(".bb-slider").hidden = false;
  document.querySelector(".bb-nine").open = false;
  show();
})();
