// Dark or light, as the reader's system says or as this switch was set. It runs before the page is shown, so that it does not flash.
"use strict";

(() => {
  const KEY = "midstream.scheme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light")) === "dark";

  function show() {
    const chosen = localStorage.getItem(KEY);
    if (chosen) document.documentElement.dataset.scheme = chosen;
    else delete document.documentElement.dataset.scheme;
    document.getElementById("scheme")?.setAttribute("aria-pressed", String(isDark()));
  }

  function turn() {
    const chosen = isDark() ? "light" : "dark";
    if ((chosen === "dark") === system.matches) localStorage.removeItem(KEY); // the system's choice is followed again
    else localStorage.setItem(KEY, chosen);
    show();
  }

  show();
  system.addEventListener("change", show);
  window.addEventListener("storage", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("scheme").addEventListener("click", turn);
    show();
  });
})();
