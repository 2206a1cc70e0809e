/** Counts the tabs of this browser that have joined the same stream. */

/** A tab says that it is there this often, in ms. */
const HERE_MS = 5_000;
/** A tab unheard of for so long, in ms, is gone; browsers let hidden tabs speak once a minute. */
const GONE_MS = 130_000;

export class Presence {
  #channel;
  #me = Math.random().toString(36).slice(2);
  #seen = new Map();
  #timer;
  #onCount;
  #bye = () => this.#say("bye");

  /** @param {(tabs: number) => void} onCount is told of every change, this tab counted */
  constructor(streamId, onCount) {
    this.#onCount = onCount;
    this.#channel = new BroadcastChannel(`midstream:${streamId}`);
    this.#channel.addEventListener("message", ({ data }) => this.#hear(data));
    this.#timer = setInterval(() => this.#say("here"), HERE_MS);
    window.addEventListener("pagehide", this.#bye);
    this.#say("hello");
    this.#report();
  }

  leave() {
    this.#bye();
    clearInterval(this.#timer);
    window.removeEventListener("pagehide", this.#bye);
    this.#channel.close();
  }

  #say(word) {
    this.#channel.postMessage({ word, tab: this.#me });
    this.#report();
  }

  #hear({ word, tab }) {
    if (word === "bye") this.#seen.delete(tab);
    else this.#seen.set(tab, performance.now());
    if (word === "hello") this.#say("here");
    this.#report();
  }

  #report() {
    const oldest = performance.now() - GONE_MS;
    for (const [tab, heard] of this.#seen) if (heard < oldest) this.#seen.delete(tab);
    this.#onCount(this.#seen.size + 1);
  }
}
