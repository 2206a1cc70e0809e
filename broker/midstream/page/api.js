/** Requests to the broker's JSON endpoints. */

import { Refused } from "/midstream.js";

const KEY = "midstream.key";
/** Pauses, in ms, before a request whose answer was lost is sent again. */
const PAUSES_MS = [300, 1_000, 3_000];

/** The API key is kept in this tab's session and nowhere else. */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Forgets a key that the broker does not accept. */
export function dropKey() {
  sessionStorage.removeItem(KEY);
}

export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
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

export function streamUrl(id) {
  return `/v1/streams/${encodeURIComponent(id)}`;
}

/** @throws {Refused} The broker refused. @throws {TypeError} It could not be reached. */
async function ask(method, url, { body, headers = {}, onRetry = () => {} } = {}) {
  const init = { method, headers: { ...headers, ...authorization(), Accept: "application/json" } };
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
