import { defineConfig } from "vite";

// One origin for page and broker, so that the browser asks for no permission.
const proxy = { "/v1": { target: process.env.MIDSTREAM_URL ?? "http://127.0.0.1:8080", changeOrigin: true } };

export default defineConfig({ esbuild: { jsx: "automatic" }, server: { proxy }, preview: { proxy } });
