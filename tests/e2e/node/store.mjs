// The packed module's store against BROKER, a running midstream.

import assert from "node:assert/strict";
import { test } from "node:test";
import { streamStore, threadStore } from "midstream-client";

const headers = { "Content-Type": "application/json" };
const COUNTED = Array.from({ length: 100 }, (_, number) => `${number + 1} `).join("");

async function started(thread) {
  const body = JSON.stringify({ input: "Count.", model: "demo/count", thread });
  const { id } = await (await fetch(`${process.env.BROKER}/v1/streams`, { method: "POST", headers, body })).json();
  return `${process.env.BROKER}/v1/streams/${id}`;
}

/** Listens until `holds(snapshot)`, and returns how often it was called. */
function listen(store, holds) {
  return new Promise((resolve) => {
    let calls = 0;
    const leave = store.subscribe(() => {
      calls += 1;
      if (holds(store.getSnapshot())) resolve((leave(), calls));
    });
  });
}

test("a store goes on after its last entry when somebody listens again", async () => {
  const url = await started();
  const entries = [];
  const store = streamStore(`${url}/events`, { onEntry: (entry) => entries.push(entry) });
  assert.equal(store.getSnapshot().connection, "idle");
  await listen(store, ({ text }) => text.includes("10 "));
  const seen = store.getSnapshot().text;
  await listen(store, ({ end }) => end);
  const { text, end, error } = store.getSnapshot();
  assert.ok(text.startsWith(seen) && text.length > seen.length);
  assert.equal(text.slice(text.indexOf("1 2 3 ")), COUNTED);
  assert.equal(end.outcome, "completed");
  assert.equal(error, null);
  assert.equal(new Set(entries.map(({ offset }) => offset)).size, entries.length);
});

test("listeners are called once a frame at most, and for a change alone", async () => {
  const url = await started();
  await fetch(`${url}?wait=30`);
  const store = streamStore(`${url}/events?catchup=plain`);
  assert.equal(store.getSnapshot(), store.getSnapshot());
  assert.ok((await listen(store, ({ end }) => end)) < 20); // of more than a hundred entries
});

test("a thread's store shows a stream that starts later", async () => {
  const name = crypto.randomUUID();
  const first = await started(name);
  const store = threadStore(`${process.env.BROKER}/v1/threads/${name}/events`);
  await listen(store, ({ streams }) => streams[0]?.text.includes("10 "));
  const second = await started(name);
  await listen(store, ({ streams }) => streams.length === 2 && streams.every(({ isOver }) => isOver));
  const { streams, error } = store.getSnapshot();
  assert.deepEqual(streams.map(({ stream_id }) => stream_id), [first, second].map((url) => url.split("/").at(-1)));
  for (const { text, outcome, messages } of streams) {
    assert.ok(text.endsWith(COUNTED));
    assert.equal(outcome, "completed");
    assert.equal(messages[0].content, "Count.");
  }
  assert.equal(error, null);
});

test("a refusal is told, and no URL is no stream", async () => {
  const refused = streamStore(`${process.env.BROKER}/v1/streams/none/events`);
  await listen(refused, ({ error }) => error);
  assert.equal(refused.getSnapshot().error.status, 404);
  const none = streamStore(null);
  none.subscribe(() => assert.fail("nothing is read"))();
  assert.equal(none.getSnapshot().connection, "idle");
});
