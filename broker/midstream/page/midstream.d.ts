/**
 * One entry of a stream's log; see broker/PROTOCOL.md for what each type holds. With `first` it stands for all entries from
 * that offset on: what is logged before a connection comes is sent so, unless its URL has `catchup=plain`.
 */
export type Entry = { offset: number } & (
  | { type: "start"; epoch: number; model: string }
  | { type: "text" | "reasoning"; text: string; first?: number }
  | { type: "tool_input"; id: string; name: string; delta: string; first?: number }
  | { type: "tool_call"; id: string; name: string; arguments: string }
  | { type: "tool_result" | "source" | "file" | "data"; [name: string]: unknown }
  | { type: "status"; state: string; reason?: string; paid?: boolean }
  | { type: "reset"; reason: string }
  | { type: "usage"; input_tokens: number; output_tokens: number; details: Record<string, unknown> }
  | {
      type: "end";
      outcome: "completed" | "failed" | "cancelled" | "interrupted";
      finish_reason: string | null;
      error: { code: string; message: string } | null;
      usage: Record<string, unknown> | null;
      timings: Record<string, number | null>;
    }
);

/** `paused`: the tab is hidden and has given its connection back. */
export type Connection = "connecting" | "live" | "reconnecting" | "paused" | "ended";

/**
 * A token, or a function that returns a valid one. The function is asked at each connection, and once more where the broker
 * refuses what it returned (a second refusal is `Refused`). A TypeError, which `fetch` throws where the network is away, has
 * it asked again after a pause; any other error of its own ends the reading.
 */
export type Token = string | (() => string | Promise<string>);

export interface TailOptions {
  /** Gets each entry once and in order. A `reset` makes everything before it void. */
  onEntry(entry: Entry): void;
  onConnection?(state: Connection): void;
  /** For instance `{ Authorization: "Bearer …" }`. */
  headers?: Record<string, string>;
  /** Sent as `Authorization: Bearer …`. */
  token?: Token;
  /** The last offset that you have; default 0. */
  after?: number;
  /** Use one connection for all tabs that read this URL (Web Locks and BroadcastChannel); default true. */
  share?: boolean;
}

/** The broker refused for good; `status` is 0 if it does not permit this page's origin (`MIDSTREAM_CORS_ORIGINS`). */
export class Refused extends Error {
  constructor(status: number, problem: Record<string, unknown>);
  status: number;
  /** The broker's RFC 9457 problem document. */
  problem: Record<string, unknown>;
}

/**
 * Reads a stream's entries to its end, and reconnects by itself. Resolves with the last offset, also when `signal` stops
 * it. The generation goes on either way.
 * @param url of the stream's events, `/v1/streams/{id}/events`
 * @throws {Refused} no key, no such stream, or its past is gone
 */
export function tail(url: string, options: TailOptions & { signal?: AbortSignal }): Promise<number>;

/** One live reader of one stream; `tail` is the short form. */
export class Tail {
  constructor(url: string, options: TailOptions);
  readonly cursor: number;
  follow(): Promise<void>;
  close(): void;
}

/** What a thread's reader gets: the entries of its streams, markers between them, and resets of what it has. */
export type ThreadEntry =
  | Entry
  | {
      type: "stream_started";
      offset: 0;
      stream_id: string;
      model: string;
      created_ms: number;
      /** The user's new messages; null if they are large: `GET /v1/threads/{thread}` shows them. */
      messages: Record<string, unknown>[] | null;
    }
  /** `outcome` is null if the stream was deleted or has expired. Of a `trimmed` one nothing is shown. */
  | { type: "stream_ended"; stream_id: string; outcome: string | null; trimmed?: boolean };

/** Where an entry of a thread stands. `stream_id` is "" for a reset of the whole thread. */
export interface ThreadPlace {
  stream_id: string;
  /** To go on after this entry: `<stream id>.<offset>`. */
  cursor: string;
}

export interface ThreadOptions extends Omit<TailOptions, "onEntry" | "after"> {
  /**
   * Gets each entry and marker once, stream after stream in the order of their starts. A `reset` makes void what came of its
   * stream, or of the whole thread if its `stream_id` is "". With offset 0 it is no entry: the stream follows from its start.
   */
  onEntry(entry: ThreadEntry, place: ThreadPlace): void;
  /** The cursor that you have, of an entry or of `GET /v1/threads/{thread}`; default: the thread's start. */
  after?: string | null;
}

/**
 * Reads all streams of a thread and each one that anybody starts in it, and reconnects by itself. Resolves with the last
 * cursor when `signal` stops it: a thread has no end.
 * @param url of the thread's events, `/v1/threads/{thread}/events`
 * @throws {Refused} no key, or no such thread
 */
export function thread(url: string, options: ThreadOptions & { signal?: AbortSignal }): Promise<string>;

/** One live reader of one thread; `thread` is the short form. */
export class ThreadTail {
  constructor(url: string, options: ThreadOptions);
  readonly cursor: string;
  follow(): Promise<void>;
  close(): void;
}

export interface ResumableFetchOptions {
  /** The `fetch` that sends the requests; default: the global one. */
  fetch?: typeof globalThis.fetch;
  /** How long to wait for a broker that cannot be reached, in ms; default 5 minutes. */
  patienceMs?: number;
  /** Sent as `Authorization: Bearer …`. */
  token?: Token;
  /** Your major version of `ai`, if it is 7 or more. Then an answer that begins anew replaces the text so far. */
  major?: number;
  /** Use one connection for all tabs that show the same answer (Web Locks and BroadcastChannel); default true. */
  share?: boolean;
}

/**
 * A `fetch` for the AI SDK: `new DefaultChatTransport({ api, fetch: resumableFetch() })`. Answers go on over
 * lost connections, sleeping phones and restarted brokers, after the last cursor.
 */
export function resumableFetch(options?: ResumableFetchOptions): typeof globalThis.fetch;

/** Parses `text/event-stream` from text that arrives in any pieces. */
export class EventStreamParser {
  constructor(onEvent: (event: { id: string; type: string; data: string }) => void, onRetry?: (ms: number) => void);
  feed(piece: string): void;
}

/** A call of a tool: its arguments as far as they have come, as JSON text, and the `tool_result` entry, or null. */
export interface Call {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
  readonly result: Extract<Entry, { type: "tool_result" }> | null;
}

/** An answer as far as it has come. Each change makes a new object. */
export interface Answer {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly Call[];
  /** The stream's last entry, with its outcome; null while more may come. */
  readonly end: Extract<Entry, { type: "end" }> | null;
}

export interface StreamSnapshot extends Answer {
  /** `idle`: nobody has listened yet, or there is no stream. */
  readonly connection: Connection | "idle";
  /** Why nothing more is read: `Refused`, or an error of the page's own `token`. */
  readonly error: Error | null;
}

/** A value that is kept up to date while somebody listens; made for `useSyncExternalStore` and its like. */
export interface Store<Snapshot> {
  /** The value: the same object until listeners are called, which is once a frame at most. */
  getSnapshot(): Snapshot;
  /** Calls `listener` after each change. Returns the function that takes it away; without listeners nothing is read. */
  subscribe(listener: () => void): () => void;
}

/** Options of `tail`, except `after`: a store holds the whole answer. */
export type StoreOptions = Partial<Omit<TailOptions, "after">>;

/**
 * A stream's answer for any framework. It is read while somebody listens, and goes on after its last entry when somebody
 * listens again.
 * @param url of the stream's events, or null for a page that has no stream yet
 */
export function streamStore(url: string | null, options?: StoreOptions): Store<StreamSnapshot>;

/** A stream of a thread: its answer, and how it began and ended. */
export interface ThreadStream extends Answer {
  readonly stream_id: string;
  readonly model: string | null;
  /** The user's new messages; null if they are large: `GET /v1/threads/{thread}` shows them. */
  readonly messages: readonly Record<string, unknown>[] | null;
  readonly isOver: boolean;
  /** Null while the stream is not over, and if it was deleted or has expired. */
  readonly outcome: string | null;
}

export interface ThreadSnapshot {
  readonly streams: readonly ThreadStream[];
  readonly connection: Connection | "idle";
  readonly error: Error | null;
}

/** Options of `thread`, except `after`: a store holds the whole thread. */
export type ThreadStoreOptions = Partial<Omit<ThreadOptions, "after">>;

/** A thread's streams for any framework; it reads as `streamStore` does. */
export function threadStore(url: string | null, options?: ThreadStoreOptions): Store<ThreadSnapshot>;
