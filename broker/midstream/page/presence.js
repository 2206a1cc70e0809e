/** Counts the tabs of this browser that have joined the same stream. */

/** Interval, in ms, at which a tab sends a sign of life. */
const PRESENT_MS = 5_000;
/** A tab that is silent for so long, in ms, is gone. Browsers let hidden tabs run once a minute. */
const GONE_MS = 130_000;

export class Presence {
  #channel;
  #me = Math.random().toString(36).slice(2);
  #seen = new Map();
  #timer;
  #onCount;
  #leaving = () => this.#send("bye");

  /** @param {(tabs: number) => void} onCount is called at every change; the count includes this tab */
  constructor(streamId, onCount) {
    this.#onCount = onCount;
    this.#channel = new BroadcastChannel(`midstream:${streamId}`);
    this.#channel.addEventListener("message", ({ data }) => this.#receive(data));
    this.#timer = setInterval(() => this.#send("here"), PRESENT_MS);
    window.addEventListener("pagehide", this.#leaving);
    this.#send("hello");
    this.#report();
  }

  leave() {
    this.#leaving();
    clearInterval(this.#timer);
    window.removeEventListener("pagehide", this.#leaving);
    this.#channel.close();
  }

  #send(word) {
    this.#channel.postMessage({ word, tab: this.#me });
    this.#report();
  }

  #receive({ word, tab }) {
    if (word === "bye") this.#seen.delete(tab);
    else this.#seen.set(tab, performance.now());
    if (word === "hello") this.#send("here");
    this.#report();
  }

  #report() {
    const oldest = performance.now() - GONE_MS;
    for (const [tab, lastSeen] of this.#seen) if (lastSeen < oldest) this.#seen.delete(tab);
    this.#onCount(this.#seen.size + 1);
  }
}
