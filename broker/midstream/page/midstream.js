/**
 * Reads midstream's streams in a browser or in Node, and reconnects by itself after the last entry.
 *
 * It uses fetch() because EventSource cannot send an API key, and hides the status of a refusal.
 */

export { resumableFetch } from "./midstream/chat.js";
export { Refused } from "./midstream/network.js";
export { EventStreamParser } from "./midstream/sse.js";
export { streamStore, threadStore } from "./midstream/store.js";
export { Tail, tail } from "./midstream/tail.js";
export { ThreadTail, thread } from "./midstream/thread.js";
