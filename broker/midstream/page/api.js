/** Requests to the broker's JSON endpoints. */

import { Refused } from "/midstream.js";

/** Notes in this browser that it has a session, which its cookie does not tell a page. */
const SIGNED_IN = "midstream.signed-in";
/** Pauses, in ms, before a request whose answer was lost is sent again. */
const PAUSES_MS = [300, 1_000, 3_000];

/**
 * Exchanges an API key for the cookie of a session, which no script can read. The key itself is not kept.
 * @throws {Refused} The broker does not know the key.
 */
export async function signIn(key) {
  await ask("POST", "/v1/session", { headers: { Authorization: `Bearer ${key}` } });
  localStorage.setItem(SIGNED_IN, "yes");
}

export function isSignedIn() {
  return localStorage.getItem(SIGNED_IN) !== null;
}

/** Ends this browser's session with the broker. */
export async function signOut() {
  await ask("DELETE", "/v1/session");
  noteSessionEnd();
}

/** Notes that this browser has no session any more. */
export function noteSessionEnd() {
  localStorage.removeItem(SIGNED_IN);
}

/** @param onRetry is called with the error before each further try */
export async function models(onRetry) {
  return (await ask("GET", "/v1/models", { onRetry })).data;
}

/**
 * Starts a generation. It is paid once however often it is sent, because the submission has a key.
 * @param onRetry is called with the error before each further try
 */
export function start({ key, request }, onRetry) {
  return ask("POST", "/v1/streams", { body: request, headers: { "Idempotency-Key": key }, onRetry });
}

export function state(id) {
  return ask("GET", streamUrl(id));
}

export function cancel(id) {
  return ask("POST", `${streamUrl(id)}/cancel`);
}

export function remove(id) {
  return ask("DELETE", streamUrl(id));
}

/** A page of the caller's threads. */
export function threads(cursor) {
  return ask("GET", `/v1/threads${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
}

/** A page of a thread's messages. */
export function thread(id, cursor) {
  return ask("GET", `${threadUrl(id)}${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
}

/** @param onRetry is called with the error before each further try */
export function removeThread(id, onRetry) {
  return ask("DELETE", threadUrl(id), { onRetry });
}

export function threadUrl(id) {
  return `/v1/threads/${encodeURIComponent(id)}`;
}

export function streamUrl(id) {
  return `/v1/streams/${encodeURIComponent(id)}`;
}

/**
 * Sends a request, and sends it again where its answer was lost. Returns the answer's JSON.
 * @throws {Refused} The broker refused. @throws {TypeError} It could not be reached. @throws {DOMException} `signal` aborted.
 */
export async function ask(method, url, { body, headers = {}, onRetry = () => {}, signal } = {}) {
  const init = { method, signal, headers: { ...headers, Accept: "application/json" } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  for (const pause of PAUSES_MS) {
    try {
      return await answer(url, init);
    } catch (error) {
      if (!isPassing(error)) throw error;
      onRetry(error);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return answer(url, init);
}

async function answer(url, init) {
  const response = await fetch(url, init);
  const text = await response.text();
  if (!response.ok) throw new Refused(response.status, parsed(text));
  return parsed(text);
}

/** Whether the same request may succeed later: the broker cannot be reached, or its log does not answer. */
export function isPassing(error) {
  return error instanceof TypeError || [502, 503, 504].includes(error.status);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
