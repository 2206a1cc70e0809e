/** A request that is on its way. It has one key however often it is sent, so that it is paid once. */

/** The submission's name in this tab's session, where a reload does not lose it. */
const STORAGE_KEY = "midstream.submission";
/** How long, in ms, a page that is being left waits for the next page. */
const LEAVING_MS = 5_000;

/** How long, in ms, a submission is kept after the broker has accepted it. */
const ACCEPTED_MS = 1_000;

let accepted = null;
let unanswered = null;
let leavingUntil = 0;
window.addEventListener("beforeunload", () => (leavingUntil = Date.now() + LEAVING_MS));

/** Returns at once, unless this page is being left: then the next page handles the submission, and this one must not. */
export async function whileStaying() {
  while (Date.now() < leavingUntil) await new Promise((resolve) => setTimeout(resolve, leavingUntil - Date.now()));
}

/**
 * Makes a submission of a request.
 * @param typed whether its prompt is in the composer
 * @param replaced the streams in whose place it is
 */
export function begin(request, { typed, replaced }) {
  const key = JSON.stringify(unanswered?.request) === JSON.stringify(request) ? unanswered.key : randomWord();
  return store({ key, request, typed, replaced, left: false });
}

/** Notes that nobody knows whether the broker has taken a submission: the same request gets the same key. */
export function noteUnanswered(submission) {
  unanswered = submission;
}

/** Marks a submission whose answer this page will not show. */
export function leave(submission) {
  submission.left = true;
  store(submission);
}

/** The submission that was on its way when this tab was loaded again, or null. */
export function stored() {
  return JSON.parse(sessionStorage.getItem(STORAGE_KEY));
}

/** A random word. (`crypto.randomUUID` is missing on pages that are not served securely.) */
export function randomWord() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Forgets a submission that was accepted or refused. */
export function forget({ key }) {
  if (stored()?.key === key) sessionStorage.removeItem(STORAGE_KEY);
}

/**
 * Forgets an accepted submission, but a moment later: a reload that began before this page had the stream's address loads
 * the address before it, and needs the submission's key to find the stream.
 */
export function forgetSoon(submission) {
  submission.replaced = []; // they are deleted now: the next page need not delete them again
  if (stored()?.key === submission.key) store(submission);
  accepted = submission;
  setTimeout(() => forget(submission), ACCEPTED_MS);
}

/** Forgets the submission that was accepted last at once, because the page leaves its answer. */
export function forgetAccepted() {
  if (accepted) forget(accepted);
  accepted = null;
}

function store(submission) {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(submission));
  } catch {
    sessionStorage.removeItem(STORAGE_KEY); // it is too large for the browser's storage, so a reload would lose it
  }
  return submission;
}
