/** Small plots in plain SVG. Each has a label that says in words what it shows. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 56;

/** Makes an SVG element. */
export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** An empty plot, `width` by `height` units of its own, with a label for those who do not see it. */
export function canvas(label, width = WIDTH, height = HEIGHT) {
  const made = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  made.setAttribute("aria-label", label);
  return made;
}

/** Draws one or two curves over the same time; null is a gap. */
export function drawCurves(plot, rows) {
  const most = Math.max(...rows.flat().map((value) => value ?? 0)) || 1;
  const parts = [ground()];
  rows.forEach((values, index) => {
    const step = WIDTH / Math.max(1, values.length - 1);
    const points = values.map((value, at) => (value == null ? null : [at * step, HEIGHT - (value / most) * (HEIGHT - 4)]));
    for (const run of runs(points)) {
      const line = run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" L");
      const [from, to] = [run[0][0], run.at(-1)[0]];
      if (index === 0) parts.push(shape("path", { class: "area", d: `M${from},${HEIGHT} L${line} L${to},${HEIGHT} Z` }));
      const isDot = run.length === 1;
      const className = ["curve", index && "second", isDot && "dot"].filter(Boolean).join(" ");
      parts.push(shape("path", { class: className, d: isDot ? `M${line} h0.01` : `M${line}` }));
    }
  });
  plot.replaceChildren(...parts);
}

/** Draws bars of several parts, one above the other: a list of numbers for each time. */
export function drawBars(plot, stacks) {
  const most = Math.max(...stacks.map((parts) => parts.reduce((sum, part) => sum + part, 0))) || 1;
  const step = WIDTH / stacks.length;
  const bars = stacks.flatMap((parts, at) => {
    let bottom = HEIGHT;
    return parts.flatMap((part, index) => {
      if (!part) return [];
      const height = (part / most) * (HEIGHT - 4);
      bottom -= height;
      const place = { x: at * step + 0.4, y: bottom, width: Math.max(0.8, step - 0.8), height };
      return [shape("rect", { class: `bar-${index + 1}`, ...place })];
    });
  });
  plot.replaceChildren(ground(), ...bars);
}

function ground() {
  return shape("line", { class: "ground", x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT });
}

/** The runs of points without a gap between them. */
function runs(points) {
  const parted = [[]];
  for (const point of points) {
    if (point) parted.at(-1).push(point);
    else if (parted.at(-1).length) parted.push([]);
  }
  return parted.filter((run) => run.length);
}
