/** The broker's JSON doors. */

import { Refused } from "./midstream.js";

const KEY = "midstream.key";
/** Pauses, in ms, before a request whose answer was lost is sent again. */
const PAUSES_MS = [300, 1_000, 3_000];

/** A word that nobody else picks; `crypto.randomUUID` is missing where the page is not served securely. */
export function randomWord() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The API key lives in this tab's session and nowhere else. */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export async function models() {
  return (await ask("GET", "/v1/models")).data;
}

/** Starts a generation. The idempotency key makes sending it again safe: it is paid for once. */
export function start(request) {
  return ask("POST", "/v1/streams", { body: request, headers: { "Idempotency-Key": randomWord() } });
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

/** @throws {Refused} The broker said no. @throws {TypeError} It could not be reached. */
async function ask(method, url, { body, headers = {} } = {}) {
  const init = { method, headers: { ...headers, ...authorization(), Accept: "application/json" } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  const response = await insist(() => fetch(url, init));
  const text = await response.text();
  if (!response.ok) throw new Refused(response.status, parsed(text));
  return parsed(text);
}

async function insist(send) {
  for (const pause of PAUSES_MS) {
    try {
      const response = await send();
      if (response.status !== 503) return response;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return send();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
