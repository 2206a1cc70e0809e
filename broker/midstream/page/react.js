/** React's hooks for streams and threads. They need nothing of React except what `useSyncExternalStore` brings. */

import { useMemo, useSyncExternalStore } from "react";
import { streamStore, threadStore } from "./midstream.js";

/** Returns a stream's answer, and draws its component again as the answer grows. `options` count when the URL changes. */
export function useStream(url, options) {
  // The options are left out: a page writes them anew each time it draws, and reading would begin anew each time.
  return useStore(useMemo(() => streamStore(url ?? null, options), [url]));
}

/** Returns a thread's streams with their answers, also those that start later, from wherever. */
export function useThread(url, options) {
  return useStore(useMemo(() => threadStore(url ?? null, options), [url]));
}

function useStore({ subscribe, getSnapshot }) {
  return useSyncExternalStore(subscribe, getSnapshot, getSnapshot);
}
