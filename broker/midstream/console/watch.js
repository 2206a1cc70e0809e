/** Asks for something again and again, while the page is visible. */

import { isPassing } from "/page/api.js";

/** Pause, in ms, after an error that may pass. */
const AFTER_ERROR_MS = 3_000;
/** The status of a limit, which has room again later. */
const TOO_MANY = 429;

/**
 * Calls `look` at once and then again, each time `everyMs` after the last call was over, until `signal` is aborted. An
 * error is told by `complain`, which is called with null once a call succeeds again; one that will not pass ends it.
 * @param {() => number | void | Promise<number | void>} look may return the pause before the next call, in ms
 * @param {{everyMs: number, signal: AbortSignal, complain: Function}} how
 */
export async function watch(look, { everyMs, signal, complain }) {
  let failed = false;
  while (!signal.aborted) {
    let pauseMs = everyMs;
    try {
      pauseMs = (await look()) ?? everyMs;
      if (failed && !signal.aborted) complain(null);
      failed = false;
    } catch (error) {
      if (signal.aborted) return;
      const passes = isPassing(error) || error.status === TOO_MANY;
      complain(error, passes ? "Trying again." : "");
      if (!passes) return;
      failed = true;
      pauseMs = AFTER_ERROR_MS;
    }
    await sleep(pauseMs, signal);
    await untilVisible(signal);
  }
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener("abort", over);
  });
}

function untilVisible(signal) {
  if (!document.hidden || signal.aborted) return undefined;
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}
