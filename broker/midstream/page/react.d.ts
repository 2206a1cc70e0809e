import type { StoreOptions, StreamSnapshot, ThreadSnapshot, ThreadStoreOptions } from "./midstream.js";

/**
 * A stream's answer, which draws its component again as it grows, once a frame at most.
 * @param url of the stream's events; null or undefined as long as there is no stream
 * @param options count when the URL changes
 */
export function useStream(url: string | null | undefined, options?: StoreOptions): StreamSnapshot;

/**
 * A thread's streams with their answers, and each one that anybody starts in it.
 * @param url of the thread's events; null or undefined as long as no stream was started in it
 * @param options count when the URL changes
 */
export function useThread(url: string | null | undefined, options?: ThreadStoreOptions): ThreadSnapshot;
