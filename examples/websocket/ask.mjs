/**
 * Asks over one WebSocket, as an app without server-sent events does (React Native): the class below uses nothing
 * that is not there. In Node 20: node --experimental-websocket ask.mjs ws://127.0.0.1:8080/v1/ws "Tell me a story."
 * Where the broker has keys: MIDSTREAM_API_KEY=… before it.
 */

export class Stream {
  #url;
  #request;
  #key;
  #apiKey;
  #onEntry;
  #id = null;
  #after = 0;
  #failures = 0;

  /**
   * @param {string} key repeats of the start under the same key are paid once
   * @param {string} [apiKey] who asks, where the broker has keys: no browser's WebSocket can send a header
   */
  constructor(url, request, { key, apiKey, onEntry }) {
    this.#url = url;
    this.#request = request;
    this.#key = key;
    this.#apiKey = apiKey;
    this.#onEntry = onEntry;
  }

  /** Resolves with the `end` entry, however often the connection is lost before. */
  follow() {
    return new Promise((resolve, reject) => this.#connect(resolve, reject));
  }

  #connect(resolve, reject) {
    const socket = new WebSocket(this.#url);
    let over = false;
    let begun = false; // a broker without keys says "ready" unasked, and again to "auth"
    const finish = (settle, value) => {
      over = true;
      socket.close();
      settle(value);
    };
    const say = (message) => socket.send(JSON.stringify(message));
    socket.onopen = () => this.#apiKey && say({ type: "auth", key: this.#apiKey });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "ready") {
        if (begun) return;
        begun = true;
        if (this.#id) say({ type: "tail", id: this.#id, after: this.#after });
        else say({ type: "start", request: this.#request, idempotency_key: this.#key });
      } else if (message.type === "started") this.#id = message.id;
      else if (message.type === "entries") {
        for (const entry of message.entries) {
          if (entry.offset === undefined) continue; // "parting": `closed` follows
          this.#failures = 0;
          this.#after = entry.offset;
          this.#onEntry(entry);
          if (entry.type === "end") finish(resolve, entry);
        }
      } else if (message.type === "closed") socket.close();
      else if (message.type === "error") finish(reject, new Error(`${message.code}: ${message.message}`));
    };
    // Some implementations say only one of the two when they cannot connect.
    socket.onclose = socket.onerror = () => {
      if (over) return;
      over = true;
      const pause = Math.random() * Math.min(15_000, 500 * 2 ** this.#failures);
      this.#failures += 1;
      setTimeout(() => this.#connect(resolve, reject), pause);
    };
  }
}

if (globalThis.process?.argv[2]) {
  const [, , url, input, model] = process.argv;
  const stream = new Stream(url, { input, model }, {
    key: String(Math.random()),
    apiKey: process.env.MIDSTREAM_API_KEY,
    onEntry: (entry) => entry.type === "text" && process.stdout.write(entry.text),
  });
  const { outcome } = await stream.follow();
  console.log(`\n[${outcome}]`);
}
