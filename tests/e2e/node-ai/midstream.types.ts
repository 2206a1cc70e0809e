/** The module's types as an app uses them: checked by `tsc --strict`, never run. */

import { Refused, Tail, resumableFetch, streamStore, tail, type Connection, type Entry } from "midstream-client";
import { useStream, useThread } from "midstream-client/react";

export async function read(url: string, signal: AbortSignal): Promise<string> {
  let text = "";
  const onEntry = (entry: Entry): void => {
    if (entry.type === "text" || entry.type === "reasoning") text += entry.text;
    else if (entry.type === "reset") text = "";
    else if (entry.type === "end" && entry.outcome !== "completed") throw new Error(entry.error?.message ?? entry.outcome);
  };
  try {
    const last: number = await tail(url, { onEntry, after: 3, share: true, signal, headers: { "x-api-key": "k" }, token: async () => "t" });
    return `${last}: ${text}`;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return String(error.problem["code"]);
    throw error;
  }
}

const states: Connection[] = [];
const reader = new Tail("/v1/streams/x/events", { onEntry() {}, onConnection: (state) => void states.push(state) });
export const cursor: number = reader.cursor;
export const following: Promise<void> = reader.follow();

/** What `DefaultChatTransport` takes. */
export const chatFetch: typeof globalThis.fetch = resumableFetch({ major: 7, share: false, token: () => "t" });

/** What a component shows, and what a page without React does. */
export function lineOf(id: string | null): string {
  const { text, calls, end, error } = useStream(id && `/v1/streams/${id}/events`, { token: "t" });
  const { streams } = useThread("/v1/threads/t/events", { onEntry: (_entry, { cursor }) => void cursor });
  return `${text} ${calls[0]?.arguments} ${end?.outcome ?? error?.message} ${streams[0]?.text} ${streams.at(-1)?.outcome}`;
}
const store = streamStore(null);
export const leave: () => void = store.subscribe(() => void store.getSnapshot().text.length);

// @ts-expect-error an entry's offset is a number
export const wrong: string = ({} as Entry).offset;
// @ts-expect-error there is no such option
export const unknown = resumableFetch({ patience: 3 });
// @ts-expect-error the cursor is read, not set
reader.cursor = 3;
// @ts-expect-error a store holds the whole answer
streamStore("/v1/streams/x/events", { after: 3 });
// @ts-expect-error a snapshot is read, not written
store.getSnapshot().text = "";
