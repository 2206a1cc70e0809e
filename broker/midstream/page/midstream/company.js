/** Tabs of one browser that read by one connection: HTTP/1.1 allows six per host, and no more for all tabs together. */

/** Locks are missing where the page is not served securely: then each tab has a connection of its own. */
export const CAN_SHARE = globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;

/** One tab's place among those that read the same. The one that leads reads, and tells the others. */
export class Company {
  /** Whether this tab reads for all. */
  leading = false;
  #name;
  #channel;
  #done = new AbortController();

  constructor(name, onTold) {
    this.#name = name;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.leading || onTold(data);
  }

  /** Tells the others, if this tab leads. */
  tell(data) {
    if (this.leading && !this.#done.signal.aborted) this.#channel.postMessage(data);
  }

  /** Waits until this tab may lead, then does so by `read`; returns without that when `close` comes first. */
  async lead(read) {
    try {
      await navigator.locks.request(this.#name, { signal: this.#done.signal }, () => this.#leading(read));
    } catch (error) {
      if (!this.#done.signal.aborted) throw error;
    }
  }

  /** Reads at once, as the leader if there is none yet. */
  async leadOrNot(read) {
    await navigator.locks.request(this.#name, { ifAvailable: true }, (lock) => (lock ? this.#leading(read) : read()));
  }

  /** Leaves: nothing more is told or heard. */
  close() {
    this.#done.abort();
    this.#channel.close();
  }

  async #leading(read) {
    this.leading = true;
    try {
      await read();
    } finally {
      this.leading = false;
    }
  }
}
