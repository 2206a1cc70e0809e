/** The conditions of the list, as the fields of a form and as parts of the address. */

import { element } from "/page/dom.js";

const STATUSES = ["queued", "running", "completed", "failed", "cancelled", "interrupted"];
/** Fields that take several values, with commas between them: a stream has to fit any of these. */
const MANY = ["status", "tenant", "user", "thread", "model", "code"];
const FIELDS = [
  ["tenant", "Tenant"],
  ["user", "User"],
  ["thread", "Thread"],
  ["model", "Model"],
  ["code", "Failure"],
  ["metadata", "Metadata", { placeholder: "name=value" }],
  ["silent_s", "Silent for more than, in s", { type: "number", min: 0, step: "any" }],
  ["attempts_over", "More attempts than", { type: "number", min: 0 }],
  ["older_than_s", "Older than, in s", { type: "number", min: 0, step: "any" }],
  ["newer_than_s", "Newer than, in s", { type: "number", min: 0, step: "any" }],
];
/** Searches that operators make often. */
export const OFTEN = [
  ["All", []],
  ["Live", [["status", "queued"], ["status", "running"]]],
  ["Stalled for 30 s", [["silent_s", "30"]]],
  ["More than 2 attempts", [["attempts_over", "2"]]],
  ["Failed within the hour", [["status", "failed"], ["newer_than_s", "3600"]]],
];

/** The conditions in an address. */
export function conditionsOf(params) {
  return [...params].filter(([name, value]) => name !== "cursor" && value !== "");
}

export class Filters {
  #search = element("input", { type: "search", name: "q", placeholder: "Ids, user, thread, metadata", ariaLabel: "Search" });
  #status = element("select", { name: "status", ariaLabel: "Status" });
  #more = element("details", { className: "more" });
  #fields = new Map();
  element;

  /** @param {(conditions: [string, string][]) => void} onChange */
  constructor(onChange) {
    this.#more.append(element("summary", {}, "More conditions"), element("div", { className: "fields" }, ...this.#rows()));
    const find = element("button", { type: "submit", className: "quiet" }, "Find");
    const line = element("div", { className: "line" }, this.#search, this.#status, find);
    this.element = element("form", { className: "filters", ariaLabel: "Conditions" }, line, this.#more);
    this.element.setAttribute("role", "search");
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      document.activeElement.blur(); // the keys of the list are of use again
      onChange(this.#conditions());
    });
    this.element.addEventListener("change", () => onChange(this.#conditions()));
  }

  focus() {
    this.#search.focus();
    this.#search.select();
  }

  /** Fills the form with the conditions of an address. */
  fill(params) {
    const status = params.getAll("status").join(",");
    const choices = ["", ...STATUSES];
    this.#status.replaceChildren(
      ...[...choices, ...(choices.includes(status) ? [] : [status])].map((value) =>
        element("option", { value, selected: value === status }, value.replaceAll(",", " or ") || "any status"),
      ),
    );
    this.#search.value = params.get("q") ?? "";
    for (const [name, input] of this.#fields) input.value = params.getAll(name).join(", ");
    const pairs = [...params].filter(([name]) => name.startsWith("metadata."));
    this.#fields.get("metadata").value = pairs.map(([name, value]) => `${name.slice("metadata.".length)}=${value}`).join(", ");
    if ([...this.#fields.values()].some(({ value }) => value)) this.#more.open = true;
  }

  #rows() {
    return FIELDS.map(([name, label, properties]) => {
      const input = element("input", { name, autocomplete: "off", spellcheck: false, ...properties });
      this.#fields.set(name, input);
      return element("label", { className: "field" }, label, input);
    });
  }

  #conditions() {
    const made = [["q", this.#search.value.trim()]];
    for (const [name, { value }] of [["status", this.#status], ...this.#fields]) {
      const parts = MANY.includes(name) || name === "metadata" ? value.split(",") : [value];
      for (const part of parts.map((each) => each.trim()).filter(Boolean)) made.push(pairOf(name, part));
    }
    return made.filter(([, value]) => value !== "");
  }
}

function pairOf(name, part) {
  if (name !== "metadata") return [name, part];
  const [key, ...rest] = part.split("=");
  return [`metadata.${key}`, rest.join("=")];
}
