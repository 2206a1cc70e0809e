/** The page's session with a broker that wants a key: signing in and out. */

import * as api from "./api.js";
import { byId } from "./dom.js";

const form = byId("key-form");
const field = byId("key");

/**
 * @param enter shows the page, once the broker lets it in
 * @param complain shows an error
 */
export function bind(enter, complain) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(enter, complain);
  });
  byId("sign-out").addEventListener("click", () => api.signOut().then(() => location.reload(), complain));
}

/** Shows that the broker has let this page in. */
export function showEntered() {
  form.hidden = true;
  byId("sign-out").hidden = !api.isSignedIn();
}

export function askForKey() {
  api.noteSessionEnd();
  byId("sign-out").hidden = true;
  form.hidden = false;
  field.focus();
}

/** Exchanges the key that was typed for a session, and goes on. The page forgets the key either way. */
async function signIn(enter, complain) {
  const key = field.value.trim();
  field.value = "";
  try {
    await api.signIn(key);
  } catch (error) {
    askForKey();
    return complain(error.status === 401 ? new Error("This broker does not know that key.") : error);
  }
  form.hidden = true;
  await enter();
  if (!form.hidden && !isSecureContext)
    complain(new Error("The browser kept no session: open this page by https, or on the broker's machine as localhost."));
}
