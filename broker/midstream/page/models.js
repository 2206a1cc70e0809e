/** The models that can be asked, and the one that is chosen. */

import * as api from "./api.js";
import { complain } from "./complaint.js";
import { byId, element } from "./dom.js";
import * as session from "./session.js";

const picker = byId("model");
/** Pause, in ms, before the page asks a broker that could not be reached for its models again. */
const ASK_AGAIN_MS = 3_000;
let catalogue = [];
picker.addEventListener("change", showCanned);

/** Fills the picker. Where the broker does not let this page in, asks for a key and returns false. */
export async function load() {
  try {
    catalogue = await insist();
  } catch (error) {
    complain(error.status === 401 ? null : error);
    if (error.status === 401) session.askForKey();
    return false;
  }
  complain(null);
  session.showEntered();
  picker.replaceChildren(...catalogue.map(option));
  picker.hidden = catalogue.length < 2;
  byId("only-model").hidden = catalogue.length !== 1;
  byId("only-model").textContent = catalogue[0]?.id ?? "";
  showCanned();
  return true;
}

/** The name of the chosen model, or undefined where there is none to choose. */
export function chosen() {
  return picker.value || undefined;
}

/** Chooses a model, if there is one of this name. */
export function choose(model) {
  if (picker.value === model || !catalogue.some(({ id }) => id === model)) return;
  picker.value = model;
  showCanned();
}

/** Asks until the broker answers, so that a page that is opened while it starts need not be reloaded. */
async function insist() {
  for (;;) {
    try {
      return await api.models((error) => complain(error, "Trying again."));
    } catch (error) {
      if (!api.isPassing(error)) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, ASK_AGAIN_MS);
        window.addEventListener("online", resolve, { once: true });
      });
    }
  }
}

function option({ id, description, default: isDefault }) {
  return element("option", { value: id, title: description ?? "", selected: isDefault }, id);
}

/** The demo source is no model: its text is always the same, and the page says so. */
function showCanned() {
  const model = catalogue.find(({ id }) => id === picker.value);
  byId("canned").hidden = model?.provider !== "demo";
  byId("only-model").title = picker.title = model?.description ?? "";
}
