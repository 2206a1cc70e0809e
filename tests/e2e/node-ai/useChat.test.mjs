/** What `useChat` makes of the broker: run by tests/e2e/test_ai_sdk.py, once for each major of the SDK. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as sdk from "./chat.mjs";
import { MAJOR, answer, chatId, has, page, script, stop, streams, textOf, words } from "./chat.mjs";

const LONG = { words: 400, delay_ms: 10 };

/** Waits for a request that may end in an error, which the page's `onError` is told. */
const settled = (request) => request.catch(() => {});

describe(`ai ${MAJOR}`, { concurrency: true }, () => {
  test("an answer is sent and read", async () => {
    const chat = page(chatId());
    await chat.sendMessage({ text: script({ words: 30, reasoning: 5, tag: chat.id }) });
    assert.equal(textOf(answer(chat)), words(30));
    const reasoning = answer(chat).parts.filter(({ type }) => type === "reasoning");
    assert.deepEqual(reasoning.map(({ text, state }) => [text, state]), [["r0 r1 r2 r3 r4 ", "done"]]);
    assert.equal(chat.status, "ready");
    assert.deepEqual(chat.seen.errors, []);
  });

  test("a tool is called once, and its output continues the answer", async () => {
    let sent = 0;
    const chat = page(chatId(), {
      // The provider's script calls the tool at each turn, so that an unlimited page would never end.
      sendAutomaticallyWhen: (state) => sdk.lastAssistantMessageIsCompleteWithToolCalls(state) && (sent += 1) === 1,
      onToolCall: ({ toolCall: { toolName: tool, toolCallId } }) => {
        chat.seen.toolCalls.push(toolCallId);
        void chat.addToolResult({ tool, toolCallId, output: { degrees: 7 } });
      },
    });
    await chat.sendMessage({ text: script({ words: 3, tool: true, tag: chat.id }) });
    await sdk.until("the answer after the tool", () => sent === 2);
    assert.equal(chat.seen.toolCalls.length, 2);
    assert.equal(textOf(answer(chat)), words(3) + words(3));
    const tools = answer(chat).parts.filter(({ type }) => type === "tool-get_weather");
    assert.deepEqual(tools.map(({ input, output }) => [input.words, output]), [[3, { degrees: 7 }], [3, { degrees: 7 }]]);
    const [second] = await streams(chat.id);
    const { messages } = await (await fetch(`${sdk.URL_OF_BROKER}/v1/streams/${second.id}`)).json();
    assert.deepEqual(messages.map(({ role }) => role), ["user", "assistant", "tool"]);
  });

  test("a failure is an error, with what came before it", async () => {
    const chat = page(chatId());
    await settled(chat.sendMessage({ text: script({ words: 40, fail: "failed_event", fail_at: 20, tag: chat.id }) }));
    assert.equal(chat.status, "error");
    assert.equal(textOf(answer(chat)), words(20));
    assert.equal(chat.seen.errors.length, 1);
    assert.equal(chat.seen.data.find(({ type }) => type === "data-error").data.code, "provider_error");
  });

  test("a refused request is a sentence", async () => {
    const chat = page(chatId(), { body: { model: "nobody/nothing" } });
    await settled(chat.sendMessage({ text: "hello" }));
    assert.equal(chat.status, "error");
    assert.match(chat.seen.errors[0], /^There is no model/);
  });

  for (const how of ["eof", "reset"]) {
    test(`cut by ${how}, the same page resumes`, async (context) => {
      const proxy = await sdk.cutting(how, 1_000);
      context.after(() => proxy.close());
      const chat = page(chatId(), { base: proxy.base });
      await settled(chat.sendMessage({ text: script({ words: 150, delay_ms: 10, tag: chat.id }) }));
      assert.equal(chat.status, how === "eof" ? "ready" : "error");
      const before = textOf(answer(chat));
      assert.ok(words(150).startsWith(before) && before.length < words(150).length);
      await chat.resumeStream();
      assert.equal(textOf(answer(chat)), words(150));
      assert.equal(chat.status, "ready");
      assert.equal((await streams(chat.id)).length, 1);
    });

    test(`cut by ${how}, a fetch that keeps the cursor gets the tail alone`, async (context) => {
      const proxy = await sdk.cutting(how, 1_000, 3);
      context.after(() => proxy.close());
      const { resumableFetch } = await import(process.env.MODULE);
      const chat = page(chatId(), { base: proxy.base, fetch: resumableFetch() });
      await chat.sendMessage({ text: script({ words: 150, delay_ms: 10, tag: chat.id }) });
      assert.equal(textOf(answer(chat)), words(150));
      assert.equal(answer(chat).parts.filter(({ type }) => type === "text").length, 1);
      assert.equal(chat.status, "ready");
      assert.deepEqual(chat.seen.errors, []);
      assert.equal((await streams(chat.id)).length, 1);
    });
  }

  test("a new tab gets all of it, and the same message", async () => {
    const first = page(chatId());
    const sent = first.sendMessage({ text: script({ words: 100, delay_ms: 10, tag: first.id }) });
    await has(first, "w20 ");
    const second = page(first.id, { messages: [first.messages[0]] });
    await second.resumeStream();
    await sent;
    assert.equal(textOf(answer(second)), words(100));
    assert.deepEqual(answer(second).parts, answer(first).parts);
    assert.equal(answer(second).id, answer(first).id);
    assert.equal(second.seen.data.filter(({ type }) => type === "data-replay").length, 1);
    assert.equal((await streams(first.id)).length, 1);
  });

  test("a persisted partial answer is completed in its place", async () => {
    const first = page(chatId());
    const sent = first.sendMessage({ text: script({ words: 100, delay_ms: 10, tag: first.id }) });
    await has(first, "w20 ");
    const second = page(first.id, { messages: structuredClone(first.messages) });
    await second.resumeStream();
    await sent;
    assert.equal(textOf(answer(second)), words(100));
    assert.deepEqual(second.messages, first.messages);
  });

  test("stop alone only closes the request: the answer can be resumed", async () => {
    const chat = page(chatId());
    const sent = chat.sendMessage({ text: script({ words: 100, delay_ms: 10, tag: chat.id }) });
    await has(chat, "w20 ");
    await chat.stop();
    await sent;
    assert.equal((await streams(chat.id))[0].status, "running");
    await chat.resumeStream();
    assert.equal(textOf(answer(chat)), words(100));
    assert.equal((await streams(chat.id)).length, 1);
  });

  test("the stop endpoint ends every tab, with its parts closed", async () => {
    const first = page(chatId());
    const sent = first.sendMessage({ text: script({ ...LONG, tag: first.id }) });
    await has(first, "w10 ");
    const second = page(first.id, { messages: [first.messages[0]] });
    const resumed = second.resumeStream();
    await has(second, "w10 ");
    assert.equal((await stop(first.id)).status, 202);
    await Promise.all([sent, resumed]);
    for (const chat of [first, second]) {
      assert.equal(chat.status, "ready");
      assert.deepEqual(chat.seen.errors, []);
      assert.equal(answer(chat).parts.at(-1).state, "done");
    }
    assert.equal(textOf(answer(first)), textOf(answer(second)));
    await second.resumeStream();
    assert.equal(second.status, "ready");
    assert.equal((await streams(first.id))[0].outcome, "cancelled");
  });

  test("regenerate replaces the answer", async () => {
    const chat = page(chatId());
    await chat.sendMessage({ text: script({ words: 10, tag: chat.id }) });
    const before = answer(chat).id;
    for (let round = 0; round < 2; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await chat.regenerate();
      assert.equal(textOf(answer(chat)), words(10));
      assert.notEqual(answer(chat).id, before);
    }
    assert.equal((await streams(chat.id)).length, 3);
  });

  test("an answer begun anew by another worker is never shown twice", { skip: !process.env.KILL }, async () => {
    const modern = MAJOR >= 7;
    const headers = modern ? { "AI-SDK-Major": String(MAJOR) } : {};
    const chat = page(chatId(), { headers, body: { model: "anthropic/claude", on_worker_loss: "restart" } });
    const sent = settled(chat.sendMessage({ text: script({ words: 120, delay_ms: 10, tag: chat.id }) }));
    await has(chat, "w20 ");
    await fetch(process.env.KILL, { method: "POST" });
    await sent;
    if (!modern) {
      assert.equal(chat.status, "error");
      assert.match(chat.seen.errors[0], /written anew/);
      await chat.resumeStream();
    }
    assert.equal(textOf(answer(chat)), words(120));
    assert.equal(chat.status, "ready");
  });

  test("an answer continued by another worker is one text, live and for who joins late", { skip: !process.env.KILL }, async () => {
    const first = page(chatId(), { body: { model: "anthropic/claude", on_worker_loss: "continue" } });
    // Long enough that a busy machine does not reach its end before the kill: then there would be nothing to resume.
    const sent = first.sendMessage({ text: script({ words: 400, delay_ms: 10, tag: first.id }) });
    await has(first, "w20 ");
    await fetch(process.env.KILL, { method: "POST" });
    const partial = structuredClone(first.messages);
    const late = [page(first.id, { messages: [first.messages[0]] }), page(first.id, { messages: partial })];
    await Promise.all([sent, ...late.map((chat) => chat.resumeStream())]);
    const [stream] = await streams(first.id);
    const { data } = await (await fetch(`${sdk.URL_OF_BROKER}/v1/streams/${stream.id}/entries?limit=1000`)).json();
    const logged = data.filter(({ type }) => type === "text").map(({ data: { text } }) => text).join("");
    assert.ok(logged.length > words(21).length);
    for (const chat of [first, ...late]) {
      assert.equal(textOf(answer(chat)), logged);
      assert.equal(answer(chat).id, answer(first).id);
      assert.equal(chat.status, "ready");
    }
  });

  test("cut after a reset, what is resumed goes on in the part that is open", { skip: !process.env.KILL || MAJOR < 7 }, async (context) => {
    const proxy = await sdk.cutting("reset", 1_500, 4);
    context.after(() => proxy.close());
    const { resumableFetch } = await import(process.env.MODULE);
    const fetch = resumableFetch({ major: MAJOR });
    const body = { model: "anthropic/claude", on_worker_loss: "restart" };
    const chat = page(chatId(), { base: proxy.base, fetch, body });
    const sent = chat.sendMessage({ text: script({ words: 200, delay_ms: 10, tag: chat.id }) });
    await has(chat, "w10 ");
    await globalThis.fetch(process.env.KILL, { method: "POST" });
    await sent;
    assert.deepEqual(chat.seen.errors, []);
    assert.equal(textOf(answer(chat)), words(200));
    assert.equal(chat.status, "ready");
  });

  test("an idle chat resumes to nothing", async () => {
    const chat = page(chatId());
    await chat.resumeStream();
    assert.deepEqual([chat.status, chat.messages, chat.seen.errors], ["ready", [], []]);
  });
});
