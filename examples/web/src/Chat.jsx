import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useEffect, useLayoutEffect, useMemo, useState } from "react";

/** Closer to the end than this, in px, counts as reading along. */
const NEAR_PX = 150;

/** A chat that survives reloads, second tabs and lost connections; `?model=provider/name` picks the model. */
export function Chat({ id, fetch }) {
  const model = new URLSearchParams(location.search).get("model") ?? undefined;
  const transport = useMemo(() => new DefaultChatTransport({ api: "/api/chat", fetch, body: { model } }), [fetch, model]);
  const { messages, sendMessage, regenerate, status, error } = useChat({ id, transport, messages: load(id), resume: true });
  const [text, setText] = useState("");
  const busy = status === "submitted" || status === "streaming";

  useEffect(() => save(id, messages), [id, messages]);
  useLayoutEffect(() => {
    const page = document.documentElement;
    if (page.scrollHeight - innerHeight - scrollY < NEAR_PX) scrollTo(0, page.scrollHeight);
  }, [messages, error]);

  // Not useChat's stop(): that only closes this tab's request. This one stops the answer, in every tab.
  const stop = () => window.fetch(`/api/chat/${id}/stop`, { method: "POST" });

  function submit(event) {
    event.preventDefault();
    if (!text.trim() || busy) return; // what was typed stays
    sendMessage({ text });
    setText("");
  }

  return (
    <>
      {messages.map((message) => (
        <p key={message.id} className={message.role}>
          {message.parts.map((part, number) => (part.type === "text" ? <span key={number}>{part.text}</span> : null))}
        </p>
      ))}
      <footer>
        {error && (
          <div role="alert">
            {error.message} <button onClick={() => regenerate()}>Try again</button>
          </div>
        )}
        <form onSubmit={submit}>
          <input aria-label="Your message" value={text} onChange={(event) => setText(event.target.value)} />
          {busy ? (
            <button type="button" onClick={stop}>
              Stop
            </button>
          ) : (
            <button>Send</button>
          )}
        </form>
        <output>{status}</output>
      </footer>
    </>
  );
}

/** The page keeps its messages itself; a real one keeps them where its users are. */
function load(id) {
  return JSON.parse(localStorage.getItem(id) ?? "[]");
}

function save(id, messages) {
  if (messages.length) localStorage.setItem(id, JSON.stringify(messages));
}
