/** Tabs of one browser that read by one connection: HTTP/1.1 allows six per host, and no more for all tabs together. */

import { Timer, wait } from "./network.js";

/** Locks are missing where the page is not served securely: then each tab has a connection of its own. */
export const CAN_SHARE = globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;

/** The tab that leads says this often, in ms, that it is there, whether or not there is anything to tell. */
const HERE_MS = 3_000;
/** A leading tab unheard of for so long, in ms, is stuck: in a dialog, in the debugger, busy, or asleep. */
const UNHEARD_MS = 10_000;
/** The others ask for its place at random within so many ms, so that the first one spares the rest. */
const SPREAD_MS = 2_000;
const HERE = "here";

/** One tab's place among those that read the same. The one that leads reads, and tells the others. */
export class Company {
  /** Whether this tab reads for all. */
  leading = false;
  #name;
  #channel;
  #done = new AbortController();
  #unheard = null;
  #awake = Promise.resolve();

  constructor(name, onTold) {
    this.#name = name;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => {
      if (this.leading) return;
      this.#unheard?.start(UNHEARD_MS + Math.random() * SPREAD_MS);
      if (data !== HERE) onTold(data);
    };
  }

  /** Tells the others, if this tab leads. */
  tell(data) {
    if (this.leading && !this.#done.signal.aborted) this.#channel.postMessage(data);
  }

  /**
   * Waits until this tab may lead, or the one that leads is stuck, then does so by `read(signal)`. Returns when that
   * is over: it has read all, or `signal` ended it because another tab leads now, this one sleeps, or `close` came.
   */
  async lead(read) {
    await this.#awake;
    const waiting = new AbortController();
    const signal = AbortSignal.any([waiting.signal, this.#done.signal]);
    this.#unheard = new Timer(() => waiting.abort());
    this.#unheard.start(UNHEARD_MS + Math.random() * SPREAD_MS);
    try {
      if (!(await this.#led({ signal }, read)) && !this.#done.signal.aborted) await this.#led({ steal: true }, read);
    } finally {
      this.#unheard.stop();
      this.#unheard = null;
    }
  }

  /** Reads at once, as the leader if there is none yet. */
  async leadOrNot(read) {
    await this.#led({ ifAvailable: true }, read);
  }

  /** Leaves: nothing more is told or heard. */
  close() {
    this.#done.abort();
    this.#channel.close();
  }

  /** Reads with the lock; false: the wait for it was given up. */
  async #led(options, read) {
    const over = new AbortController();
    let reading = null;
    const hold = (lock) => {
      if (lock) this.#begin(over);
      reading = read(AbortSignal.any([over.signal, this.#done.signal]));
      // Another tab need not wait until this one has noticed that it is to sleep.
      return Promise.race([reading, new Promise((resolve) => over.signal.addEventListener("abort", resolve))]);
    };
    try {
      await navigator.locks.request(this.#name, options, hold);
    } catch (error) {
      // A lock that another tab took away is an error, too; what `read` throws is thrown below.
      if (error.name !== "AbortError" && !reading) throw error;
    }
    over.abort();
    await reading;
    return reading !== null;
  }

  #begin(over) {
    const scope = { signal: over.signal };
    const sleep = () => {
      this.#awake = wait(this.#done.signal);
      over.abort();
    };
    globalThis.document?.addEventListener("freeze", sleep, scope);
    globalThis.window?.addEventListener("pagehide", sleep, scope);
    this.leading = true;
    this.#unheard?.stop();
    this.tell(HERE);
    const here = setInterval(() => this.tell(HERE), HERE_MS);
    over.signal.addEventListener("abort", () => {
      this.leading = false;
      clearInterval(here);
    });
  }
}
