// The official JavaScript SDKs, unmodified, on a running broker: BROKER is its URL.

import http from "node:http";
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const BROKER = process.env.BROKER;
const openai = new OpenAI({ baseURL: `${BROKER}/v1`, apiKey: "any", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: BROKER, apiKey: "any", maxRetries: 0 });
const TEXT = Array.from({ length: 20 }, (_, number) => `w${number} `).join("");

const prompt = (script) => JSON.stringify({ script });
const messages = (script) => [{ role: "user", content: prompt(script) }];

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("a response broken at every event and resumed is gapless", async () => {
  const input = prompt({ reasoning: 2, tool: true });
  const whole = await all(await openai.responses.create({ model: "gpt-test", input, stream: true }));
  const { response } = whole.at(-1);
  assert.equal(response.output_text ?? response.output[1].content[0].text, TEXT);
  for (let cut = 0; cut < whole.length; cut += 1) {
    const rest = await openai.responses.retrieve(response.id, { stream: true, starting_after: cut });
    assert.deepEqual([...whole.slice(0, cut + 1), ...(await all(rest))], whole);
  }
});

test("the response helper accumulates", async () => {
  const stream = openai.responses.stream({ model: "gpt-test", input: prompt({ tool: true }) });
  const final = await stream.finalResponse();
  assert.equal(final.output_text, TEXT);
  assert.equal(final.output[1].type, "function_call");
  const again = openai.responses.stream({ response_id: final.id });
  assert.equal((await again.finalResponse()).output_text, TEXT);
});

test("a background response is queued, and can be cancelled", async () => {
  const input = prompt({ words: 500, delay_ms: 10 });
  const { id, status } = await openai.responses.create({ model: "gpt-test", input, background: true });
  assert.equal(status, "queued");
  assert.equal((await openai.responses.cancel(id)).status, "cancelled");
});

test("a completion streams, calls a tool, and fails loudly", async () => {
  const stream = openai.chat.completions.stream({ model: "gpt-test", messages: messages({ tool: true }) });
  const completion = await stream.finalChatCompletion();
  assert.equal(completion.choices[0].message.content, TEXT);
  assert.equal(completion.choices[0].message.tool_calls[0].function.name, "get_weather");
  const broken = messages({ fail: "failed_event", fail_at: 3 });
  const failing = await openai.chat.completions.create({ model: "gpt-test", messages: broken, stream: true });
  await assert.rejects(all(failing), OpenAI.APIError);
});

test("a message streams thinking, text and a tool's input, and fails loudly", async () => {
  const request = { model: "claude-test", max_tokens: 99 };
  const stream = anthropic.messages.stream({ ...request, messages: messages({ reasoning: 2, tool: true }) });
  const message = await stream.finalMessage();
  assert.deepEqual(message.content.map((block) => block.type), ["thinking", "text", "tool_use"]);
  assert.equal(message.content[0].signature, "signed-0");
  assert.equal(message.content[1].text, TEXT);
  assert.equal(message.content[2].input.city, "Zürich 😀");
  assert.equal(message.stop_reason, "tool_use");
  const broken = messages({ fail: "error_event", fail_at: 3 });
  await assert.rejects(anthropic.messages.stream({ ...request, messages: broken }).finalMessage(), Anthropic.APIError);
});

test("errors and models are in the peers' shapes", async () => {
  await assert.rejects(openai.responses.retrieve(`resp_${"0".repeat(32)}`), OpenAI.NotFoundError);
  await assert.rejects(openai.responses.create({ model: "demo/none", input: "x" }), OpenAI.NotFoundError);
  const request = { model: "claude-test", max_tokens: 9, messages: [] };
  await assert.rejects(anthropic.messages.create(request), Anthropic.BadRequestError);
  const ids = (await all(await openai.models.list())).map((model) => model.id);
  assert.deepEqual((await all(await anthropic.models.list())).map((model) => model.id), ids);
});

// The request arrives; its first answer is lost, or comes when nobody waits for it any more.
function losing(how) {
  let sent = 0;
  const away = async (url, init) => {
    sent += 1;
    if (sent > 1) return fetch(url, init);
    // A connection of its own, which would be kept, and is over as soon as the answer is lost.
    const agent = new http.Agent({ keepAlive: true });
    const headers = Object.fromEntries(new Headers(init.headers));
    const request = http.request(url, { method: init.method, headers, agent });
    request.on("error", () => {});
    request.end(init.body);
    if (how === "timeout") await new Promise((resolve) => setTimeout(resolve, 50));
    else await new Promise((resolve) => request.on("response", resolve));
    request.destroy();
    agent.destroy();
    if (how === "timeout") throw new DOMException("The operation was aborted.", "AbortError");
    return new Response("{}", { status: 500, headers: { "retry-after-ms": "1" } });
  };
  return { away, sent: () => sent };
}

for (const how of ["500", "timeout"]) {
  for (const door of ["responses", "chat", "messages"]) {
    test(`a retry of ${door} after a ${how} joins what the first try started`, async () => {
      const { away, sent } = losing(how);
      const of_openai = new OpenAI({ baseURL: `${BROKER}/v1`, apiKey: "any", maxRetries: 2, fetch: away });
      const of_anthropic = new Anthropic({ baseURL: BROKER, apiKey: "any", maxRetries: 2, fetch: away });
      const script = { delay_ms: 5, tag: `retried-${door}-${how}` };
      const answerOf = {
        responses: async () =>
          (await of_openai.responses.create({ model: "gpt-test", input: prompt(script) })).output_text,
        chat: async () =>
          (await of_openai.chat.completions.create({ model: "gpt-test", messages: messages(script) })).choices[0].message
            .content,
        messages: async () =>
          (await of_anthropic.messages.create({ model: "claude-test", max_tokens: 9, messages: messages(script) }))
            .content[0].text,
      };
      assert.equal(await answerOf[door](), TEXT);
      assert.equal(sent(), 2);
    });
  }
}

test("a conversation is compacted and goes on", async () => {
  const input = [{ role: "user", content: "We launch on Tuesday." }, { role: "assistant", content: "Noted." }];
  const compacted = await openai.responses.compact({ model: "gpt-test", input });
  assert.equal(compacted.object, "response.compaction");
  assert.deepEqual(compacted.output.map((item) => item.type), ["message", "compaction"]);
  assert.equal(compacted.output[0].content[0].text, "We launch on Tuesday.");
  const onward = await openai.responses.create({ model: "anthropic/claude-test", input: compacted.output });
  assert.equal(onward.output_text, TEXT);
});
