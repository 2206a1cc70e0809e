import { createRoot } from "react-dom/client";
import { Chat } from "./Chat.jsx";

const { resumableFetch } = await import(/* @vite-ignore */ `${location.origin}/midstream.js`);

// The chat's id is in the address: a reload and a second tab are the same chat.
if (!location.hash) location.replace(`#${crypto.randomUUID()}`);
createRoot(document.getElementById("chat")).render(<Chat id={location.hash.slice(1)} fetch={resumableFetch()} />);
