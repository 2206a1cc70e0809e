/** Asking again and again, at a decent pace, over a network that comes and goes. */

/** Longest silence, in ms, that is believed: the broker sends a heartbeat every 15 s or sooner. */
const SILENCE_MS = 20_000;
/** Longest pause between two tries, in ms. */
const MAX_PAUSE_MS = 15_000;
/** A tab hidden for so long, in ms, gives its connection back: HTTP/1.1 browsers allow six per host. */
const HIDDEN_MS = 2_000;
const WORTH_ANOTHER_TRY = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The broker refused for good; `problem` is its problem document. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The broker answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/** This connection is over, the stream is not: read on from the cursor. */
export class Cut extends Error {}

/** Pauses between tries: full jitter under a growing ceiling; what the broker asked for counts as well. */
export class Pauses {
  retryMs = 1_000;
  retryAfterMs = 0;
  /** Since when the broker has been asked in vain, or null. */
  askingSinceMs = null;
  /** Whether the broker has ever answered. */
  answered = false;
  /** How many times in a row this page alone was not answered. */
  shutOut = 0;
  #failures = 0;
  #hurried = false;

  succeeded() {
    this.#failures = 0;
  }

  /** Spares the next pause: there is a network again. */
  hurry() {
    this.#hurried = true;
  }

  /** Waits; coming online, or back to the tab, ends the wait, and so does `signal`. */
  async pause(signal) {
    if (this.#hurried) {
      this.#hurried = false;
      return;
    }
    const ceiling = Math.min(MAX_PAUSE_MS, this.retryMs * 2 ** Math.min(this.#failures, 10));
    const ms = this.retryAfterMs + Math.random() * ceiling;
    this.#failures += 1;
    this.retryAfterMs = 0;
    await wait(signal, ms);
  }
}

/** Asks, and tells what the answer means: a response to read, or null where another try is worth it. */
export async function ask(fetch, url, init, pauses) {
  pauses.askingSinceMs ??= Date.now();
  const response = await overNetwork(fetch(url, init)).catch(async (error) => {
    await refuseIfShutOut(String(url.url ?? url), pauses);
    throw error;
  });
  pauses.answered = true;
  if (WORTH_ANOTHER_TRY.has(response.status)) {
    pauses.retryAfterMs = 1_000 * (Number(response.headers.get("Retry-After")) || 0);
    throw new Cut(`the answer was ${response.status}`);
  }
  pauses.askingSinceMs = null;
  return response;
}

/**
 * A browser does not tell a page why another origin's answer was kept from it. Where the broker's public module can be
 * read at the same time, twice in a row, and nothing else ever could, it is because that page's origin is not let in.
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

/** Tries until it succeeds, or the patience is at its end. */
export async function insist(attempt, pauses, signal, patienceMs) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof Cut)) throw error;
      if (Date.now() - pauses.askingSinceMs > patienceMs) throw new TypeError("network error: the broker cannot be reached", { cause: error });
    }
    await pauses.pause(signal);
  }
}

/** Takes whatever a connection throws for a cut: only what the broker says is a refusal. */
export async function overNetwork(promise) {
  try {
    return await promise;
  } catch (cause) {
    throw new Cut("the connection was cut", { cause });
  }
}

/**
 * Runs `act` with a connection, `act(connection)`. It ends with `signal`, when nothing was heard of it for too long, when a
 * network comes back (whatever was open before that is dead, and nobody says so), in a tab that is hidden for long, and in
 * one that is put to sleep.
 */
export async function withConnection(signal, pauses, act) {
  const connection = new Connection();
  const scope = { signal: connection.signal };
  const cut = () => connection.abort();
  const sleep = () => {
    pauses.askingSinceMs = null; // nobody asks meanwhile
    cut();
  };
  const hidden = new Timer(sleep);
  onVisibility(() => (isHidden() ? hidden.start(HIDDEN_MS) : hidden.stop()), scope);
  globalThis.document?.addEventListener("freeze", sleep, scope);
  globalThis.window?.addEventListener("pagehide", sleep, scope);
  globalThis.window?.addEventListener("online", () => (pauses.hurry(), cut()), scope);
  // A phone's timers sleep with it: whether the connection has survived is asked when it wakes.
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

/** Aborts itself when nothing was heard for too long. */
class Connection extends AbortController {
  #silence = new Timer(() => this.abort());
  #heardMs;

  constructor() {
    super();
    this.signal.addEventListener("abort", () => this.#silence.stop());
    this.heard();
  }

  /** Notes that something came. */
  heard() {
    this.#heardMs = Date.now();
    if (!this.signal.aborted) this.#silence.start(SILENCE_MS);
  }

  isSilent() {
    return Date.now() - this.#heardMs > SILENCE_MS;
  }
}

export function isHidden() {
  return globalThis.document?.hidden ?? false;
}

function onVisibility(act, scope) {
  globalThis.document?.addEventListener("visibilitychange", act, scope);
}

/** Calls `act` whenever there is reason to look at the network again: a tab seen, a phone awake, a network back. */
export function onWake(act, scope) {
  onVisibility(act, scope);
  globalThis.document?.addEventListener("resume", act, scope);
  globalThis.window?.addEventListener("pageshow", act, scope);
  globalThis.window?.addEventListener("online", act, scope);
}

/** Waits `ms`, or for ever; waking and `signal` end it. */
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
