/** What was sent, until the broker has taken it: one key, however often it is sent, so that it is paid for once. */

/** It is kept for this tab, so that a reload does not lose it. */
const KEPT = "midstream.submission";
/** How long, in ms, a page that is being left waits for the one that takes its place. */
const LEAVING_MS = 5_000;

/** How long, in ms, a submission is kept after it was taken. */
const TAKEN_MS = 1_000;

let taken = null;
let leavingUntil = 0;
window.addEventListener("beforeunload", () => (leavingUntil = Date.now() + LEAVING_MS));

/** Ends at once, unless this page is being left: the page that is loaded next deals with the submission, and this one must not. */
export async function whileStaying() {
  while (Date.now() < leavingUntil) await new Promise((resolve) => setTimeout(resolve, leavingUntil - Date.now()));
}

/**
 * Makes a submission of a request.
 * @param typed whether its prompt stands in the composer
 */
export function begin(request, typed) {
  return keep({ key: randomWord(), request, typed, left: false });
}

/** Marks a submission whose answer nobody waits for any more. */
export function leave(submission) {
  submission.left = true;
  keep(submission);
}

/** The submission that was on its way when this tab was loaded again, or null. */
export function kept() {
  return JSON.parse(sessionStorage.getItem(KEPT));
}

/** A word that nobody else picks; `crypto.randomUUID` is missing where the page is not served securely. */
export function randomWord() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Forgets a submission that was taken or refused. */
export function forget({ key }) {
  if (kept()?.key === key) sessionStorage.removeItem(KEPT);
}

/**
 * Forgets a submission that was taken, a moment later: a reload that began before this page had the stream's address
 * loads the one before it, and finds its way by the submission's key.
 */
export function forgetSoon(submission) {
  taken = submission;
  setTimeout(() => forget(submission), TAKEN_MS);
}

/** Forgets the submission that was taken last at once: its answer is left. */
export function forgetTaken() {
  if (taken) forget(taken);
  taken = null;
}

function keep(submission) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(submission));
  } catch {
    sessionStorage.removeItem(KEPT); // it is larger than what a browser keeps: a reload would lose it
  }
  return submission;
}
