/** Tabs of one browser that share a connection, because browsers allow only six HTTP/1.1 connections per host in all tabs. */

import { Timer, wait } from "./network.js";

/** Web Locks are missing on pages that are not served securely. There each tab has a connection of its own. */
export const CAN_SHARE = globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;

/** Interval, in ms, at which the leading tab sends a sign of life, whether or not it has anything else to send. */
const LIFE_SIGN_MS = 3_000;
/** A leading tab that is silent for so long, in ms, is stuck: in a dialog, in the debugger, in a busy script, or asleep. */
const STUCK_MS = 10_000;
/** The other tabs try to take its place after a random part of so many ms, so that the first one spares the rest. */
const SPREAD_MS = 2_000;
const LIFE_SIGN = "here";

/** One tab's place among the tabs that read the same stream. The leading tab reads, and passes everything on to the others. */
export class TabGroup {
  /** Whether this tab reads for all. */
  leading = false;
  #name;
  #channel;
  #closed = new AbortController();
  #silence = null;
  #awake = Promise.resolve();

  constructor(name, onMessage) {
    this.#name = name;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => {
      if (this.leading) return;
      this.#silence?.start(STUCK_MS + Math.random() * SPREAD_MS);
      if (data !== LIFE_SIGN) onMessage(data);
    };
  }

  /** Sends a message to the other tabs, if this tab leads. */
  send(message) {
    if (this.leading && !this.#closed.signal.aborted) this.#channel.postMessage(message);
  }

  /**
   * Waits until this tab may lead, or the leading tab is stuck, and then leads by `read(signal)`. Returns when that is
   * over: everything was read, or `signal` ended it because another tab leads, this tab is put to sleep, or `close` was
   * called.
   */
  async lead(read) {
    await this.#awake;
    const waiting = new AbortController();
    const signal = AbortSignal.any([waiting.signal, this.#closed.signal]);
    this.#silence = new Timer(() => waiting.abort());
    this.#silence.start(STUCK_MS + Math.random() * SPREAD_MS);
    try {
      const hasLed = await this.#readWithLock({ signal }, read);
      if (!hasLed && !this.#closed.signal.aborted) await this.#readWithLock({ steal: true }, read);
    } finally {
      this.#silence.stop();
      this.#silence = null;
    }
  }

  /** Reads at once, and leads if no other tab does. */
  async readAtOnce(read) {
    await this.#readWithLock({ ifAvailable: true }, read);
  }

  /** Leaves the group: this tab sends and receives nothing more. */
  close() {
    this.#closed.abort();
    this.#channel.close();
  }

  /** Reads with the lock. Returns false if the wait for the lock was given up. */
  async #readWithLock(options, read) {
    const stopped = new AbortController();
    let reading = null;
    const hold = (lock) => {
      if (lock) this.#begin(stopped);
      reading = read(AbortSignal.any([stopped.signal, this.#closed.signal]));
      // The lock is free as soon as this tab is to sleep, so that another tab need not wait for its reading to end.
      return Promise.race([reading, new Promise((resolve) => stopped.signal.addEventListener("abort", resolve))]);
    };
    try {
      await navigator.locks.request(this.#name, options, hold);
    } catch (error) {
      // A lock that another tab has stolen is an AbortError as well. An error of `read` is thrown below.
      if (error.name !== "AbortError" && !reading) throw error;
    }
    stopped.abort();
    await reading;
    return reading !== null;
  }

  #begin(stopped) {
    const scope = { signal: stopped.signal };
    const sleep = () => {
      this.#awake = wait(this.#closed.signal);
      stopped.abort();
    };
    globalThis.document?.addEventListener("freeze", sleep, scope);
    globalThis.window?.addEventListener("pagehide", sleep, scope);
    this.leading = true;
    this.#silence?.stop();
    this.send(LIFE_SIGN);
    const lifeSigns = setInterval(() => this.send(LIFE_SIGN), LIFE_SIGN_MS);
    stopped.signal.addEventListener("abort", () => {
      this.leading = false;
      clearInterval(lifeSigns);
    });
  }
}
