import { useStream } from "midstream-client/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

/** One question and its answer. The stream's id is in the address, so a reload and a second tab show the same answer. */
function Page() {
  const [id, setId] = useState(location.hash.slice(1));
  const { text, connection, end, error } = useStream(id ? `/v1/streams/${id}/events` : null);

  async function ask(form) {
    const body = JSON.stringify({ input: form.get("question"), model: form.get("model") || undefined });
    const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
    const stream = await (await fetch("/v1/streams", { method: "POST", headers, body })).json();
    location.hash = stream.id;
    setId(stream.id);
  }

  return (
    <main>
      <form action={ask}>
        <input name="question" aria-label="Your question" required />
        <input name="model" aria-label="Model" placeholder="the default model" />
        <button>Ask</button>
      </form>
      <p style={{ whiteSpace: "pre-wrap" }}>{text}</p>
      <output>{error?.message ?? end?.outcome ?? connection}</output>
    </main>
  );
}

createRoot(document.getElementById("page")).render(<Page />);
