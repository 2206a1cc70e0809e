/** Keeps the focus where it is while rows are made anew. */

/** Replaces the children of a container; a link or a button that had the focus and comes again has it afterwards. */
export function replaceRows(container, rows) {
  const key = container.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  container.replaceChildren(...rows);
  if (key === null) return;
  [...container.querySelectorAll("a, button")].find((each) => keyOf(each) === key)?.focus({ preventScroll: true });
}

function keyOf(target) {
  return target.getAttribute("href") ?? target.ariaLabel;
}
