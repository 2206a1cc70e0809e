/** The list of conversations on a narrow page: a drawer over it. */

import { byId } from "./dom.js";

const drawer = byId("threads");
const menu = byId("menu");
const shade = byId("shade");
const narrow = matchMedia("(max-width: 52rem)");
const others = ["scroller", "foot"].map(byId);
let isOpen = false;

export function bind() {
  menu.addEventListener("click", () => show(!isOpen));
  shade.addEventListener("click", close);
  narrow.addEventListener("change", close);
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && isOpen && !document.querySelector("dialog[open]")) close();
  });
  close();
}

/** Closes the drawer; on a wide page the list is beside the conversation all the time. */
export function close() {
  const hadFocus = isOpen && drawer.contains(document.activeElement);
  show(false);
  if (hadFocus) menu.focus();
}

function show(opens) {
  isOpen = opens && narrow.matches;
  document.body.classList.toggle("drawer-open", isOpen);
  drawer.inert = narrow.matches && !isOpen;
  menu.ariaExpanded = String(isOpen);
  shade.hidden = !isOpen;
  for (const other of others) other.inert = isOpen;
  if (isOpen) (drawer.querySelector("a[aria-current=page]") ?? drawer.querySelector("a, button"))?.focus();
}
