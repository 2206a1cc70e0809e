/** Requests that are sent again, with growing pauses, over a network that comes and goes. */

/** A connection that is silent for so long, in ms, is dead: the broker sends a heartbeat every 15 s or sooner. */
const SILENCE_MS = 20_000;
/** Longest pause between two tries, in ms. */
const MAX_PAUSE_MS = 15_000;
/** A tab that is hidden for so long, in ms, closes its connection, because browsers allow six HTTP/1.1 ones per host. */
const HIDDEN_MS = 2_000;
const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The broker refused for good; `problem` is its problem document. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The broker answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** The connection is over, but the stream is not: it can be read on from the cursor. */
export class Cut extends Error {}

/** Pauses between tries: random below a growing ceiling, in addition to the pause that the broker asks for. */
export class Pauses {
  retryMs = 1_000;
  retryAfterMs = 0;
  /** When the first of the requests was sent that had no answer since, or null. */
  unansweredSinceMs = null;
  /** Whether the broker has ever answered. */
  answered = false;
  /** How many times in a row this page got no answer although the broker could be reached. */
  shutOut = 0;
  #failures = 0;
  #skipsPause = false;

  succeeded() {
    this.#failures = 0;
  }

  /** Skips the next pause, because there is a network again. */
  skipNext() {
    this.#skipsPause = true;
  }

  /** Waits. `signal` ends the wait, and so does a network or a visible tab that comes back. */
  async pause(signal) {
    if (this.#skipsPause) {
      this.#skipsPause = false;
      return;
    }
    const ceiling = Math.min(MAX_PAUSE_MS, this.retryMs * 2 ** Math.min(this.#failures, 10));
    const ms = this.retryAfterMs + Math.random() * ceiling;
    this.#failures += 1;
    this.retryAfterMs = 0;
    await wait(signal, ms);
  }
}

/**
 * Sends one request and returns its response. Where `token` is a function and the broker refuses what it returned, it is
 * asked once more, and the request is sent again.
 * @throws {Cut} There was no answer, or one after which another try is worth it.
 */
export async function ask(fetch, url, init, pauses, token) {
  const attempt = async () => {
    pauses.unansweredSinceMs ??= Date.now();
    return send(fetch, url, await signed(init, token), pauses);
  };
  const response = await attempt();
  if (response.status !== 401 || typeof token !== "function") return response;
  await response.body?.cancel();
  return attempt();
}

async function signed(init, token) {
  if (token === undefined) return init;
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${typeof token === "function" ? await fresh(token) : token}`);
  return { ...init, headers };
}

/** Asks a page's function for a token. The TypeError of its `fetch` is a network that is away; other errors are for the page. */
async function fresh(token) {
  try {
    return await token();
  } catch (error) {
    if (error instanceof TypeError) throw new Cut("no token could be fetched", { cause: error });
    throw error;
  }
}

async function send(fetch, url, init, pauses) {
  const response = await overNetwork(fetch(url, init)).catch(async (error) => {
    await refuseIfShutOut(String(url.url ?? url), pauses);
    throw error;
  });
  pauses.answered = true;
  if (PASSING_STATUSES.has(response.status)) {
    pauses.retryAfterMs = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
    throw new Cut(`the answer was ${response.status}`);
  }
  pauses.unansweredSinceMs = null;
  return response;
}

/**
 * A browser does not tell a page why it must not read an answer of another origin. If the page could never read an answer
 * of the broker, but could read the broker's public module at the same time, twice in a row, then the broker does not
 * permit the page's origin.
 */
async function refuseIfShutOut(url, pauses) {
  const here = globalThis.location?.origin;
  const { origin } = new URL(url, globalThis.location?.href);
  if (!here || origin === here || pauses.answered) return;
  const probe = globalThis.fetch(`${origin}/midstream.js`, { cache: "no-cache" });
  const reachable = await probe.then(({ ok }) => ok, () => false);
  pauses.shutOut = reachable ? pauses.shutOut + 1 : 0;
  if (pauses.shutOut < 2) return;
  const detail = `The broker at ${origin} lets no page of ${here} read its answers: MIDSTREAM_CORS_ORIGINS does not list it.`;
  throw new Refused(0, { code: "cors", detail });
}

/** Tries until an attempt succeeds, or the broker has not answered for longer than `patienceMs`. */
export async function insist(attempt, pauses, signal, patienceMs) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof Cut)) throw error;
      if (Date.now() - pauses.unansweredSinceMs > patienceMs) throw new TypeError("network error: the broker cannot be reached", { cause: error });
    }
    await pauses.pause(signal);
  }
}

/** Turns every error of a connection into a cut, because only an answer of the broker is a refusal. */
export async function overNetwork(promise) {
  try {
    return await promise;
  } catch (cause) {
    throw new Cut("the connection was cut", { cause });
  }
}

/**
 * Runs `act(connection)`. The connection is cut by `signal`, by a silence that is too long, by a network that comes back
 * (connections from before are dead, which no event reports), and in a tab that is hidden for long or put to sleep.
 */
export async function withConnection(signal, pauses, act) {
  const connection = new Connection();
  const scope = { signal: connection.signal };
  const cut = () => connection.abort();
  const sleep = () => {
    pauses.unansweredSinceMs = null; // no request is sent meanwhile
    cut();
  };
  const hidden = new Timer(sleep);
  onVisibility(() => (isHidden() ? hidden.start(HIDDEN_MS) : hidden.stop()), scope);
  globalThis.document?.addEventListener("freeze", sleep, scope);
  globalThis.window?.addEventListener("pagehide", sleep, scope);
  globalThis.window?.addEventListener("online", () => (pauses.skipNext(), cut()), scope);
  // A phone's timers sleep with it, so the silence is looked at when it wakes.
  onWake(() => connection.isSilent() && cut(), scope);
  signal.addEventListener("abort", cut, scope);
  if (signal.aborted) cut();
  try {
    return await act(connection);
  } finally {
    hidden.stop();
    cut();
  }
}

/** Aborts itself after a silence that is too long. */
class Connection extends AbortController {
  #silence = new Timer(() => this.abort());
  #lastBytesMs;

  constructor() {
    super();
    this.signal.addEventListener("abort", () => this.#silence.stop());
    this.noteBytes();
  }

  /** Notes that bytes have arrived. */
  noteBytes() {
    this.#lastBytesMs = Date.now();
    if (!this.signal.aborted) this.#silence.start(SILENCE_MS);
  }

  isSilent() {
    return Date.now() - this.#lastBytesMs > SILENCE_MS;
  }
}

export function isHidden() {
  return globalThis.document?.hidden ?? false;
}

function onVisibility(act, scope) {
  globalThis.document?.addEventListener("visibilitychange", act, scope);
}

/** Calls `act` whenever the network may be back: the tab is visible, the phone awake, or the browser online again. */
export function onWake(act, scope) {
  onVisibility(act, scope);
  globalThis.document?.addEventListener("resume", act, scope);
  globalThis.window?.addEventListener("pageshow", act, scope);
  globalThis.window?.addEventListener("online", act, scope);
}

/** Waits for `ms`, or without limit. `signal` ends the wait, and so does everything that `onWake` notices. */
export function wait(signal, ms) {
  return new Promise((resolve) => {
    const scope = new AbortController();
    const timer = new Timer(wake);
    function wake() {
      scope.abort();
      timer.stop();
      resolve();
    }
    if (ms !== undefined) timer.start(ms);
    if (signal.aborted) wake();
    onWake(wake, { signal: scope.signal });
    signal.addEventListener("abort", wake, { signal: scope.signal });
  });
}

export class Timer {
  #act;
  #id;

  constructor(act) {
    this.#act = act;
  }

  start(ms) {
    clearTimeout(this.#id);
    this.#id = setTimeout(this.#act, ms);
  }

  stop() {
    clearTimeout(this.#id);
  }
}
