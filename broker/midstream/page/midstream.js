/**
 * Reads midstream's streams from a browser, or from Node, and comes back by itself where it was.
 *
 * fetch() and not EventSource: EventSource cannot send an API key, and hides the status of a refusal.
 */

export { resumableFetch } from "./midstream/chat.js";
export { Refused } from "./midstream/network.js";
export { EventStreamParser } from "./midstream/sse.js";
export { Tail, tail } from "./midstream/tail.js";
