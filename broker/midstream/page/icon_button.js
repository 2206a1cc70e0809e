/** Buttons that show what they do by a picture, and say it to screen readers and in a tooltip. */

import { element } from "./dom.js";

const SHAPES = {
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  again: "M13 3v3.5H9.5M13 6.5A5.5 5.5 0 1 0 13.5 9",
  edit: "M3 13l.6-3L11 2.6l2.4 2.4L6 12.4z",
  delete: "M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.6 9h6.8l.6-9M6.6 7v4M9.4 7v4",
};

/** @param act what it does, a name in SHAPES */
export function iconButton(act, label) {
  const made = element("button", { type: "button", className: "icon", title: label, ariaLabel: label });
  made.dataset.act = act;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS(svg.namespaceURI, "path");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["width", "15"], ["height", "15"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  path.setAttribute("d", SHAPES[act]);
  svg.append(path);
  made.append(svg);
  return made;
}
